#!/usr/bin/perl

# Protects: an agent with "mode = all" at several real nodes with real things in
# front of them, as docs/operations.md has them: nginx that passes on bytes, in
# turn or by the client's address, and DNS.  Each node serves all, hosts and
# ports; a burst in front loses nobody; a node that dies costs the clients of
# others nothing, and has its agent again when it is back; a token that is taken
# out is gone everywhere.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Fleet;
use ZLTunnel::Front;
use ZLTunnel::Wire;

need_nofile(8192);

my $f = ZLTunnel::Front->new;
my @t = @{ $f->{t} };
my $url = "wss://$ZLTunnel::Front::NAME";

subtest 'nginx, by the address' => \&hashed;
subtest 'nginx, in turn' => \&in_turn;
subtest 'DNS' => \&dns;

$f->finish;


sub hashed {
    $f->nginx;
    $f->agent("$url:$f->{front}{443}/tunnel/v1");

    my @at;
    ok(wait_for(sub { @at = $f->nodes; @at == 1 }), 'the agent is at one node');
    ok(wait_for(sub { $f->get($f->{ip}[$at[0]], $f->{port}{http})->{status}
                      == 200 }), 'which serves') if @at;
    is(scalar(grep { $t[$_]->log =~ /data channel of the agent/ } 0 .. 2), 0,
       'no data channel has met another');
    is($f->{agent}->stop, 0, 'the agent ends');
}


sub in_turn {
    $f->nginx(sub { $_[0] =~ s/^ *hash .*\n//m or die 'no hash' });
    $f->agent("$url:$f->{front}{443}/tunnel/v1");

    $f->is_at('in turn', 0, 1, 2);
    $f->at_each('in turn');
    $f->in_front('in turn');
    burst('in turn');
    is($f->{agent}->stop, 0, 'the agent ends');
}


sub dns {
    plan(skip_all => 'there is no dnsmasq')
        if (run('sh', '-c', 'command -v dnsmasq'))[0];

    my $block = ZLTunnel::Fleet->block('By DNS', 'dnsmasq');
    $block =~ s/10\.0\.0\.([123])/$f->{ip}[$1 - 1]/g;
    $block =~ s/tunnel\.example\.com/$ZLTunnel::Front::NAME/g;

    $f->{names}->hosts;
    $f->{names}->dnsmasq($block);
    $f->agent("$url:$f->{port}{443}/tunnel/v1");

    $f->is_at('DNS', 0, 1, 2);
    $f->at_each('DNS');
    burst('DNS for the agent');
    delays() if long_run();
    dies();
    revoked();
}


sub agents {
    my ($n) = @_;
    return scalar(() = $t[$n]->log =~ /agent "home" (?:connected|is back)/g);
}


sub dies {
    my @agents = map { agents($_) } 0 .. 2;
    my @c = map { ZLTunnel::Wire::Socket->new($t[0]{base},
                                              PeerAddr => $f->{ip}[$_]) } 0 .. 2;
    $_->send('x') && $_->take(1, 20) for @c;

    $f->{fleet}->crash(1);

    like($c[1]->ending(20), qr/^(eof|reset)$/, 'a node dies, with what it had');

    for my $n (0, 2) {
        $c[$n]->send('still');
        is($c[$n]->take(5, 20), 'still', "a client of node $n does not notice");
        is($f->get($f->{ip}[$n], $f->{port}{http})->{status}, 200,
           "node $n serves new ones");
    }

    $t[1]->start;
    $f->is_at('it is back', 0, 1, 2);
    ok(wait_for(sub { $f->get($f->{ip}[1], $f->{port}{http})->{status} == 200 }),
       'and serves');

    for my $n (0, 2) {
        $c[$n]->send('to this day');
        is($c[$n]->take(11, 20), 'to this day', "and a client of node $n");
        is(agents($n), $agents[$n], 'whose agent has been there all the time');
    }

    $_->close for @c;
}


# In front, where clients take turns.

sub burst {
    my ($what) = @_;

    my $n = sizes('clients of a burst', 3000, 900);
    my $load = $t[0]->spawn("burst-$what" =~ s/ /-/gr, $t[0]->nettool, 'held', $f->{front}{port},
                            $n, 2, $n);
    ok(wait_for(sub { $load->output =~ /^held/m || !$load->running }, 90),
       "$what: a burst in front");
    is(($load->output =~ /^held (\d+)/m)[0], $n, "$what: $n are there")
        or diag($load->output);
    $load->say('go on');
    is($load->wait(90), 0, "$what: and none is reset") or diag($load->output);
    note($load->output);
}


# What a new connection takes at worst of 99 in 100, of two ways at one time.

sub delays {
    my %ms = (one => [], front => []);

    for (1 .. 500) {
        for ([ 'one', $f->{ip}[0], $t[0]{base} ],
             [ 'front', '127.0.0.1', $f->{front}{port} ])
        {
            my ($way, $ip, $port) = @$_;
            my $start = time;
            my $c = ZLTunnel::Wire::Socket->new($port, PeerAddr => $ip);

            $c->send('x');
            $c->take(1, 20);
            push @{ $ms{$way} }, 1000 * (time - $start);
            $c->close;
        }
    }

    my ($one, $front) = map { (sort { $a <=> $b } @{ $ms{$_} })[494] }
                        qw(one front);
    cmp_ok($front / $one, '<', 4, sprintf 'the 99th of 100 takes %.1f ms in'
           . ' front, %.1f ms at one node', $front, $one);
}


# The file is one, and comes to each.

sub revoked {
    my $file = "$f->{dir}/all.tokens";
    write_file($file, sha256_hex('somebody') . " somebody\n", 0644);

    for my $t (@t) {
        my ($rc) = run('rsync', '-pgo', $file, "$t->{dir}/tokens");
        next if $rc == 0;

        # without it: as it does
        write_file("$t->{dir}/tokens.new", slurp($file), 0644);
        rename "$t->{dir}/tokens.new", "$t->{dir}/tokens" or die $!;
    }

    ok(wait_for(sub { !$f->nodes }), 'a token that is taken out is gone at all');
    ok(wait_for(sub {
        !grep { ($_->{state} // '') eq 'connected' }
            @{ ($f->{agent}->status || {})->{tunnels} || [] };
    }), 'the agent knows');
}
