#!/usr/bin/perl

# Protects: no key of the agent's configuration is one that a reload says to
# have read and ignores.  Each is changed while the agent runs, at a server by
# hand, and the change must be seen: by the server, by a service, or in the
# status.  A key that is new in the source and not here fails the test.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::MD5 qw(md5);
use IO::Socket::INET;
use IO::Socket::IP;
use IO::Socket::UNIX;
use Test::More;
use ZLTunnel;
use ZLTunnel::Known;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg ext parse datagram_open announce);

my $t = ZLTunnel->new;
my $token = $t->token('alice');
my $other = "$t->{dir}/other.token";
write_file($other, $t->token('bob') . "\n", 0600);
write_file("$t->{dir}/headers", "X-F: g\n", 0600);
write_file("$t->{dir}/proxy", "http://127.0.0.1:9\n", 0600);

my $server = ZLTunnel::Server->new($t, features => 0x8f);
my $url = $server->url;

# a service, which keeps its connections; a server that accepts and closes;
# one that says nothing

my ($hold, $closer, $silent) = map { listener() } 1 .. 3;
my @held;
my $closed = 0;

$server->watch($hold, sub { push @held, scalar $hold->accept });
$server->watch($closer, sub { $closed++; close($closer->accept) });

# the same port by the other address of localhost, which says nothing either

my $six = IO::Socket::IP->new(LocalAddr => '::1', Listen => 8,
                              LocalPort => $server->{port})
    or die "[::1]:$server->{port}: $!";

my $udp = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1');

my $socket = "$t->{dir}/the.sock";
my $free = $t->free_port;
my $syslog = "$t->{dir}/syslog.sock";
my $daemon = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $syslog)
    or die "$syslog: $!";

my %plain = (
    agent => { control => $socket,
               server => [ $url, 'wss://127.0.0.1:1/tunnel/v1' ],
               token_file => '%%token_file%%', reconnect_interval => '100ms',
               max_reconnect_interval => '200ms' },
    'service s' => { local => address($hold) },
);

my %nodes = (
    agent => { control => $socket, token_file => '%%token_file%%',
               reconnect_interval => '100ms',
               max_reconnect_interval => '200ms' },
    node => { name => 'n1' },
    nodes => { names => 'n1, n2, n3' },
    'tunnel x' => { from => 'n1', to => 'n2', server => $url,
                    local_port => $hold->sockport },
);

# something for n1 when the other tunnel is not its any more
my %stays = (with => { 'tunnel y' => { %{ $nodes{'tunnel x'} } } });

my %udp = (with => { 'service u' => { protocol => 'udp',
                                      local => address($udp) } });
my %open = (with => { access => { name => 'o', allow => '192.0.2.1:1' } });
my %visit = (with => { 'access v' => { service => 'v' } });
my %lost = (settle => sub { $closed > 1 });

# what is seen must be so within this many seconds
my $time = 10;
my ($mark, %was, $ch);


# section, key, the value before (undef: none), after, what is to be seen, and:
# with => more of the configuration, base => another one, settle => when it has
# taken the first value, before and after => to be done then, fails => what the
# reload says.

my @cases = (
    [ 'agent', 'server', $url, "$url?again", sub { auths() } ],
    [ 'agent', 'mode', undef, 'all', sub { said(qr/agent at \S+ connected/) } ],
    [ 'agent', 'nodes', undef, 1, sub { said(qr/nodes = 1 allows no link/) },
      settle => sub { @{ $agent::it->status->{tunnels} } == 2 },
      with => { agent => { mode => 'all', server =>
                           "ws://localhost:$server->{port}/tunnel/v1" } } ],
    [ 'agent', 'control', $socket, 'other.sock', sub { said(qr/"control"/) } ],
    [ 'agent', 'header', undef, 'X-A: b', sub { headed('x-a', 'b') },
      after => sub { ($server->conns('idle'))[0]->drop } ],
    [ 'agent', 'header_file', undef, 'headers', sub { headed('x-f', 'g') },
      after => sub { ($server->conns('idle'))[0]->drop } ],
    [ 'agent', 'log_format', undef, 'json', sub { said(qr/^\{"time"/m) } ],
    [ 'agent', 'log', undef, "syslog:$syslog", sub { logged_there() } ],
    [ 'agent', 'metrics', undef, $free, sub { !refuses($free) } ],
    [ 'agent', 'token_file', '%%token_file%%', $other,
      sub { $server->{auth}{token} ne $token } ],
    [ 'agent', 'ca_file', undef, 'ca.pem', sub { auths() } ],
    [ 'agent', 'insecure', undef, 'yes', sub { auths() } ],
    [ 'agent', 'cert', undef, 'cert.pem', sub { auths() } ],
    [ 'agent', 'key', undef, 'key.pem', sub { auths() },
      with => { agent => { cert => 'cert.pem' } } ],
    [ 'agent', 'proxy', undef, 'http://127.0.0.1:9',
      sub { (link_of()->{proxy} // '') =~ /:9$/ } ],
    [ 'agent', 'proxy_file', undef, 'proxy',
      sub { (link_of()->{proxy} // '') =~ /:9$/ } ],
    [ 'agent', 'log_level', undef, 'debug', sub { said(qr/ DEBUG /) },
      after => sub { ($server->conns('idle'))[0]->drop } ],
    [ 'agent', 'transport', 'raw', 'websocket',
      sub { link_of()->{transport} eq 'websocket' } ],
    [ 'agent', 'reconnect_interval', '1h', '100ms',
      sub { $closed >= $was{closed} + 4 }, after => \&start_again, %lost,
      settle => sub { $closed > 0 },
      with => { agent => { server => ws($closer),
                           max_reconnect_interval => '1h' } } ],
    [ 'agent', 'max_reconnect_interval', '1h', '100ms',
      sub { $closed >= $was{closed} + 15 }, %lost,
      with => { agent => { server => ws($closer) } } ],
    [ 'agent', 'connect_timeout', '10m', '1s',
      sub { said(qr/did not answer|timed out|in time/) },
      after => \&start_again,
      settle => sub { link_of()->{state} eq 'connecting' },
      with => { agent => { proxy => 'http://' . address($silent) } } ],
    [ 'agent', 'shutdown_timeout', '10m', '1s', sub { said(qr/cut short/) },
      before => sub { connection('s'); $server->wait(sub { @held }) },
      after => sub { ask('stop', 'agent') } ],
    [ 'agent', 'udp_timeout', '1h', '1s', sub { sessions() == 0 }, %udp,
      before => sub { datagrams(1); sessions(1) } ],
    [ 'agent', 'max_udp_sessions', 1, 2, sub { sessions() == 2 }, %udp,
      before => sub { datagrams(1); sessions(1) },
      after => sub { $ch->say(datagram_open(2, service => md5('u'))) } ],
    [ 'agent', 'min_idle', undef, 5, sub { idle() == 5 } ],
    [ 'agent', 'min_idle', 5, undef, sub { idle() == 2 } ],
    [ 'agent', 'max_idle', undef, 1, sub { idle() == 1 } ],
    [ 'agent', 'max_idle', 1, undef, sub { idle() == 2 } ],
    [ 'agent', 'max_idle', undef, 0, sub { idle() == 0 } ],
    [ 'agent', 'max_idle', 0, undef, sub { idle() == 2 } ],

    of_service('service s', 's'),
    [ 'service s', 'local', address($hold), address($closer),
      sub { link_of()->{services}[0]{local} eq address($closer) } ],
    [ 'service s', 'private', undef, 'yes', sub { flags('s') == 1 } ],
    [ 'service s', 'internal', undef, 'yes', sub { flags('s') == 2 } ],
    [ 'service s', 'preferred_port', undef, 4000,
      sub { (registered('s')->{ext}{2} // '') eq pack 'n', 4000 } ],
    [ 'service s', 'allow_access', 'bob', 'carol',
      sub { (registered('s')->{ext}{3} // '') eq 'carol' } ],

    [ 'service s', 'host', undef, 'a, B.',
      sub { (registered('s')->{ext}{4} // '') eq 'a,b' && flags('s') == 1 } ],
    [ 'service s', 'host', 'a', 'b',
      sub { (registered('s')->{ext}{4} // '') eq 'b' } ],
    [ 'service s', 'host', 'a', undef,
      sub { registered('s')->{name} && !registered('s')->{ext}{4} } ],

    [ 'service r', 'remote_ports', '5000-5001', '5001-5002',
      sub { registered('r-5002')->{name} && !registered('r-5000')->{name} },
      with => { 'service r' => { local => '1-2' } } ],

    [ 'access', 'name', 'o', 'p', sub { registered('p')->{name} }, %open ],
    [ 'access', 'protocol', undef, 'udp',
      sub { registered('o')->{protocol} }, %open ],
    [ 'access', 'allow_access', 'bob', 'carol',
      sub { (registered('o')->{ext}{3} // '') eq 'carol' }, %open ],
    [ 'access', 'allow', '192.0.2.1:1', address($hold), sub { @held }, %open,
      after => sub { connection('o', ext(1 => address($hold))) } ],

    [ 'access v', 'service', 'v', 'w', sub { asked()->{name} eq 'w' },
      %visit ],
    [ 'access v', 'protocol', undef, 'udp', sub { asked()->{protocol} },
      %visit ],
    [ 'access v', 'ttl', undef, '7s', sub { asked()->{ttl} == 7 }, %visit ],
    [ 'access v', 'grace', undef, '7s', sub { asked()->{grace} == 7 },
      %visit ],
    [ 'access v', 'to', undef, 'db:1',
      sub { (asked()->{ext}{2} // '') eq 'db:1' }, %visit ],
    [ 'access v', 'local', undef, "unix:$t->{dir}/v.sock",
      sub { $agent::it->session('v')->{local} =~ /v\.sock/ }, %visit ],

    [ 'node', 'name', 'n1', 'n2',
      sub { $agent::it->status->{node} eq 'n2' }, base => \%nodes ],
    [ 'nodes', 'names', 'n1, n2', 'n2', sub { 1 }, base => \%nodes,
      fails => qr/no node "n1"/ ],
    [ 'tunnel x', 'from', 'n1', 'n3', sub { !link_of('x') },
      base => \%nodes, %stays ],
    [ 'tunnel x', 'to', 'n2', 'n3', sub { link_of('x')->{to} eq 'n3' },
      base => \%nodes ],
    [ 'tunnel x', 'service', 'x', 'z', sub { registered('z')->{name} },
      base => \%nodes ],
    [ 'tunnel x', 'local_host', undef, 'localhost',
      sub { link_of('x')->{services}[0]{local} =~ /^localhost:/ },
      base => \%nodes ],
    [ 'tunnel x', 'local_port', $hold->sockport, $closer->sockport,
      sub { link_of('x')->{services}[0]{local} eq address($closer) },
      base => \%nodes ],
    [ 'tunnel x', 'expose', undef, 'public', sub { flags('x') == 0 },
      base => \%nodes ],
    of_service('tunnel x', 'x', base => \%nodes),
);


# What [service NAME] and [tunnel NAME] have alike.

sub of_service {
    my ($section, $name, @o) = @_;

    return (
        [ $section, 'protocol', undef, 'udp',
          sub { registered($name)->{protocol} }, @o ],
        [ $section, 'remote_port', 4000, 4001,
          sub { registered($name)->{remote_port} == 4001 }, @o ],
        [ $section, 'check', undef, 'tcp',
          sub { (checked($name)->{type} // '') eq 'tcp'
                && checked($name)->{state} ne 'unknown' }, @o ],
        [ $section, 'check_interval', '1h', '100ms',
          sub { @held > 2 }, @o, of_check($section) ],
        [ $section, 'check_timeout', '10m', '100ms',
          sub { (checked($name)->{error} // '') =~ /within 100 ms/ }, @o,
          of_check($section) ],
        [ $section, 'check_fails', 1000, 1,
          sub { checked($name)->{state} eq 'down' }, @o,
          of_check($section, check_timeout => '100ms') ],
        [ $section, 'on_fail', undef, 'refuse',
          sub { said(qr/refuses? connections/) }, @o, of_check($section) ],
        [ $section, 'proxy_protocol', undef, 'v1',
          sub { header() =~ /^PROXY TCP4 192\.0\.2\.7 / }, @o,
          after => sub { connection($name) } ],
        [ $section, 'proxy_protocol', 'v1', 'v2',
          sub { header() =~ /^\r\n\r\n\0\r\nQUIT\n/ }, @o,
          after => sub { connection($name) } ],
        [ $section, 'proxy_protocol', 'v2', 'no',
          sub { header() =~ /^hello/ }, @o,
          after => sub { connection($name) } ],
    );
}


# A check that is not answered.

sub of_check {
    my ($section, @keys) = @_;

    return (with => { $section => { check => 'http:/', @keys } });
}


my $agent = $agent::it = $t->agent(token => $token, wait => 0,
                                   control => $socket, control_in_conf => 1,
                                   conf => conf(\%plain));
ok($server->wait(sub { $server->{services}{s} }), 'the agent is there');

changed(@$_) for @cases;
all_of_them();

$agent->{proc}->kill('TERM');
$server->wait(sub { !$agent->{proc}->running }, 30);
is($agent->stop, 0, 'the agent ends with 0');
$server->close_all;

$t->finish;


sub listener {
    return IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64)
           || die "listen: $!";
}

sub address { '127.0.0.1:' . $_[0]->sockport }
sub ws { 'ws://' . address($_[0]) . '/tunnel/v1' }


# The configuration, with changes to its keys.

sub conf {
    my ($base, @changes) = @_;

    my %conf = map { $_ => { %{ $base->{$_} } } } keys %$base;

    for my $change (@changes) {
        for my $section (keys %$change) {
            my $c = $change->{$section};
            $conf{$section}{$_} = $c->{$_} for keys %$c;
        }
    }

    my $text = '';

    for my $section (sort keys %conf) {
        $text .= "[$section]\n";

        for my $key (sort keys %{ $conf{$section} }) {
            my $v = $conf{$section}{$key} // next;
            $text .= "$key = $_\n" for ref $v ? @$v : $v;
        }
    }

    return $text;
}


sub ask {
    my ($rc, $out) = $agent->ask(@_);
    return $rc == 0 ? '' : $out;
}


sub changed {
    my ($section, $key, $from, $to, $seen, %o) = @_;

    my $what = sprintf '[%s] %s: from %s to %s', $section, $key,
                       $from // 'nothing', $to // 'nothing';
    my @conf = ($o{base} // \%plain, $o{with} // {});

    # from a new beginning

    $_->drop for values %{ $server->{conns} };
    $server->{services} = {};
    @held = ();
    $closed = 0;

    $agent->write_conf(conf(@conf, { $section => { $key => $from } }));
    is(ask('reload'), '', "$what: reload");
    ask('start', $_->{name}) for @{ $agent->status->{tunnels} };

    my $settled = $o{settle} // sub {
        my @links = @{ $agent->status->{tunnels} };
        return !(grep { $_->{state} ne 'connected' } @links)
               && $server->control && keys %{ $server->{services} };
    };
    ok($server->wait($settled), "$what: settled");
    $server->pass(0.2);
    $o{before}->() if $o{before};

    $mark = length $agent->log;
    %was = (auths => $server->{auths}, closed => $closed);

    $agent->write_conf(conf(@conf, { $section => { $key => $to } }));
    my $error = ask('reload');

    if ($o{fails}) {
        like($error, $o{fails}, "$what: refused");
        return;
    }

    is($error, '', "$what: reload");
    $o{after}->() if $o{after};

    ok($server->wait($seen, $time), "$what: is seen")
        or diag(substr $agent->log, $mark);
}


# What can be seen

sub logged_there {
    $daemon->blocking(0);
    my $line;
    return defined recv($daemon, $line, 8192, 0) && $line =~ /^<30>/;
}

sub said { substr($agent->log, $mark) =~ $_[0] }
sub auths { $server->{auths} > $was{auths} }
sub headed {
    my ($name, $value) = @_;
    return grep { ($_->{head}{$name} // '') eq $value }
           $server->conns('idle');
}
sub link_of { $agent->link(@_) }

sub checked {
    my ($name) = @_;

    my ($s) = grep { $_->{name} eq $name }
              map { @{ $_->{services} } } @{ $agent->status->{tunnels} };
    return $s->{check} || {};
}

sub registered { $server->{services}{ $_[0] } || {} }

sub flags {
    my ($name) = @_;
    my $s = $server->{services}{$name} or return -1;
    return unpack 'C', $s->{ext}{1} // "\0";
}

sub idle {
    return scalar grep { !grep { $_->[0] eq 'Retire' } @{ $_->{frames} } }
                  $server->conns('idle');
}

# the last AccessOpen
sub asked {
    my @asked = map { $_->[1] } grep { $_->[0] eq 'AccessOpen' }
                map { @{ $_->{frames} } } $server->conns('control');
    return @asked ? parse(msg('AccessOpen', $asked[-1])) : { name => '' };
}

# UDP sessions that are open; waits for so many
sub sessions {
    my ($n) = @_;
    my $open = sub { link_of()->{connections}{open} };

    return $open->() if !defined $n;
    ok($server->wait(sub { $open->() == $n }), "$n sessions");
}

# what came at the service first
sub header {
    my $s = $held[-1] or return '';
    $s->blocking(0);
    sysread $s, my $bytes, 1024;
    return $bytes // '';
}


# A connection to a service, on an idle channel.

sub connection {
    my ($name, $ext) = @_;

    $ch = $server->idle;
    $ch->say(announce(md5($name), ext => $ext));
    $ch->say(msg('Data', 'hello'));
}


sub datagrams {
    my ($n) = @_;

    $ch = $server->idle;
    $ch->say(datagram_open($n, service => md5('u')));
}


sub start_again {
    ask('stop', 'agent');
    ask('start', 'agent');
}


sub all_of_them {
    my %walked;
    $walked{ $_->[0] =~ s/ .*/ NAME/r }{ $_->[1] } = 1 for @cases;

    my $known = known_keys();
    is(join(', ', sort keys %walked), join(', ', sort keys %$known),
       'all sections');

    # a tunnel takes the keys of [agent], but for some, by the same code

    my @agent = grep { $_ ne '*' } @{ $known->{'tunnel NAME'} };
    my @refused = grep { !$walked{'tunnel NAME'}{$_} } @agent;

    for my $key (@refused) {
        write_file("$t->{dir}/refused.conf",
                   conf(\%nodes, { 'tunnel x' => { $key => '1' } }));
        my ($rc, $out) = run($ZLTunnel::AGENT, 'check', '-c',
                             "$t->{dir}/refused.conf");
        like($out, qr/"$key" is for all tunnels/, "[tunnel] $key is refused");
    }

    for my $section (sort keys %$known) {
        my %skip = map { $_ => 1 } '*', $section =~ /tunnel/ ? @refused : ();

        is(join(' ', sort keys %{ $walked{$section} }),
           join(' ', grep { !$skip{$_} } @{ $known->{$section} }),
           "all keys of [$section]");
    }
}
