package ZLTunnel::Fleet;

# Several nodes, each a real nginx at an address of its own, 127.0.0.2 and so
# on, with the same ports, and what docs/operations.md says to write for them.
#
#     my $fleet = ZLTunnel::Fleet->new(2, rights => 'sessions=4');
#     my $block = ZLTunnel::Fleet->block('Between nodes', 'zltunnel_host');
#     $fleet->{t}[$n]->write_conf(http => ..., stream => ...);
#     $fleet->start;
#
# $fleet->{t}[$n] is a ZLTunnel; its own http server, for the status, is at
# 127.0.0.1.

use strict;
use warnings;

use ZLTunnel;


# Options: rights (of the token, whose name is "home"); any other goes to
# ZLTunnel->new of each.

sub new {
    my ($class, $n, %o) = @_;

    my $rights = delete $o{rights} // '';
    my $self = bless { token => ZLTunnel::random_token(),
                       ip => [ map { "127.0.0.$_" } 2 .. $n + 1 ] }, $class;

    for my $ip (@{ $self->{ip} }) {
        my $t = ZLTunnel->new(allow => [ qr/exited on signal 9/ ], %o);

        $t->token('home', $rights, $self->{token});
        push @{ $self->{t} }, $t;

        # the ports that all have

        my ($first, $n) = ($self->{t}[0]{base}, $t->{range});
        $t->write_conf(listen => "$ip:$first-" . ($first + $n - 1));
    }

    return $self;
}


sub start { $_->start for @{ $_[0]{t} } }

sub port { my ($self, $n) = @_; return $self->{t}[0]->free_port($n) }


# The block of code in that section of docs/operations.md which has the text in
# it.

sub block {
    my ($class, $section, $has) = @_;

    my $docs = slurp("$ZLTunnel::ROOT/docs/operations.md");
    my ($text) = $docs =~ /^###? \Q$section\E\n(.*?)(?=^###? |\z)/ms
        or die "there is no section \"$section\"";
    my ($block) = grep { /\Q$has\E/ } $text =~ /^```\w*\n(.*?)^```$/msg
        or die "nothing in \"$section\" has $has";

    return $block;
}


# A node as if its machine was gone.

sub crash {
    my ($self, $n) = @_;

    my $t = $self->{t}[$n];

    kill 'KILL', $t->{nginx}->pid, $t->workers;
    $t->{nginx}->wait(10);
}


sub finish {
    my ($self) = @_;

    my ($first, @others) = @{ $self->{t} };
    $first->finish(@others);
}


1;
