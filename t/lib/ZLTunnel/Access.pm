package ZLTunnel::Access;

# A visitor by hand: access sessions on its control channel, and connections
# of them.
#
#     my $c = visitor($t, $token);
#     my $id = opened($c, 'web', ttl => 60);
#     my $v = connected($c, $id);                 # an echo service has answered

use strict;
use warnings;

use Exporter 'import';
use Test::More;

use ZLTunnel::Wire qw(access_open);

our @EXPORT = qw(visitor ask opened refused connected echoes gone sessions
                 session);


# Its control channel, authenticated.

sub visitor {
    my ($t, $token, %o) = @_;
    return ZLTunnel::Wire->agent($t, $token, features => 15, %o);
}


# The answer to an AccessOpen: the message.

sub ask {
    my ($c, $name, @o) = @_;

    $c->send_msg(access_open($name, @o));
    return $c->next // { type => $c->{end} // 'none' };
}


# The id of a new session.

sub opened {
    my ($c, $name, @o) = @_;

    my $m = ask($c, $name, @o);
    is($m->{type}, 'AccessOk', "access to $name") or diag explain $m;

    return $m->{access_id};
}


# "code N: reason"

sub refused {
    my $m = ask(@_);
    return $m->{type} eq 'AccessFail' ? "code $m->{code}: $m->{reason}"
                                      : $m->{type};
}


# A visit that has its ConnectAck and an echo, or undef.

sub connected {
    my ($c, $id, %o) = @_;

    my $v = ZLTunnel::Wire->visit($c, $id, %o) // return undef;
    return undef if $v->{answer}{status} != 101;

    my $m = $v->next // { type => $v->{end} // 'none' };
    return undef if $m->{type} ne 'ConnectAck';

    return echoes($v) && $v;
}


sub echoes {
    my ($v) = @_;

    $v->send('ping') or return 0;
    return ($v->take(4) // '') eq 'ping';
}


# Whether the session takes no connection any more.

sub gone {
    my ($c, $id) = @_;
    return ZLTunnel::Wire->visit($c, $id)->{answer}{status} == 410;
}


# What the status lists, and one of it by its id.

sub sessions {
    my ($t) = @_;
    return @{ ($t->status // {})->{access} // [] };
}

sub session {
    my ($t, $id) = @_;
    return (grep { $_->{id} eq unpack 'H*', $id } sessions($t))[0];
}


1;
