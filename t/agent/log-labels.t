#!/usr/bin/perl

# Protects: where an agent has several links, each line of its log that belongs
# to one says to which; with one link there is no such label.  The link's lines
# are caused here, one kind after the other, and in the source no line but
# those of the process is written without a label.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::MD5 qw(md5);
use IO::Socket::INET;
use Test::More;
use ZLTunnel;
use ZLTunnel::Known;
use ZLTunnel::Server;
use ZLTunnel::Wire qw(msg str16 ext new_id datagram_open ws_frame
                      announce);

# what the process says, whichever links there are

my $process = qr/^(?:stopped|stopping\ |%u\ connection|the\ machine\ has\ slept
                 |the\ configuration\ (?:was\ read|is\ not)
                 |there\ is\ no\ (?:control\ socket|configuration)
                 |"status"\ and\ the\ like\ cannot
                 |the\ tunnel\ "\S+"\ is\ (?:new|removed)
                 |the\ control\ socket:|another\ "
                 |zltunnel-agent\ \S+:\ no\ tunnel
                 |the\ certificate\ in\ |\S+\ can\ be\ read\ by
                 |no\ random\ numbers|no\ QR\ code|the\ metrics\ are\ at)/x;

subtest 'the source' => \&source;
subtest 'two links' => \&two;
subtest 'mode = all' => \&all;
subtest 'one link' => \&one;

done_testing();


sub source {
    my %file = agent_source();

    for my $name (sort keys %file) {
        my $text = $file{$name};

        while ($text =~ /\bzlt_log_(?:error|warn|info|debug)
                         \( ( (?: "(?:[^"\\]|\\.)*" | [^;"] )* ) \);/gx)
        {
            my $args = $1;
            next if $args =~ /const char \*fmt/;

            $args =~ s/"\s*ZLT_AGENT_VERSION\s*"/0.0.0/g;
            $args =~ s/"\s+"//g;

            my ($first) = $args =~ /^"((?:[^"\\]|\\.)*)/;
            my $line = 1 + (substr($text, 0, pos $text) =~ tr/\n//);
            my $file = $name =~ s/.*\///r;

            # a reload that is refused tells its error, which is of no link
            next if $file eq 'reload.c' && ($first // '') eq '%s';

            like(($first // $args) =~ s/\\"/"/gr, $process,
                 "$file:$line is of the process");
        }
    }
}


# The lines since then that have none of these labels.

sub unlabelled {
    my ($agent, @labels) = @_;
    my @lines;

    for my $line (split /\n/, $agent->log) {
        $line =~ s/^\S+ (?:ERROR|WARN|INFO|DEBUG) // or next;
        next if $line =~ $process || grep { index($line, $_) == 0 } @labels;
        push @lines, $line;
    }

    return @lines;
}


# Makes a link say all that it can: a service that is down, one that is
# refused, unasked answers, a channel that breaks, UDP sessions, access.

sub provoke {
    my ($server) = @_;
    my $dead = $server->idle;

    $dead->say(announce(md5('down')));
    $server->wait(sub { @{ $dead->{frames} } });

    my $unknown = $server->idle;
    $unknown->say(announce(new_id()));
    $server->wait(sub { @{ $unknown->{frames} } });

    my $udp = $server->idle;
    $udp->say(datagram_open($_, service => md5('udp'))) for 1 .. 3;
    $server->pass(0.3);
    $udp->say(msg('AuthOk', ''));

    my $idle = $server->idle;
    $idle->say(msg('AuthOk', 'x' x 5000));

    my $c = $server->control;
    $c->tell(msg('RegisterOk', new_id()));
    $c->tell(msg('AccessFail', str16('for a while') . ext(1 => "\4")));
    $c->tell(msg('AccessFail', str16('unasked')));
    $c->tell(msg('Auth', str16('x') . new_id()));
    $c->tell(msg('Withdraw', md5('web') . str16('no more')));
    $server->pass(0.3);
    $c->tell(msg('Disconnect', str16('a reload') . ext(1 => "\1")));
    $server->wait(sub { (grep { $_ != $c } $server->conns('control')) });
    $c->say(ws_frame(pack('n', 1000) . 'bye', op => 8, mask => 0));
    $server->pass(0.3);
}


sub conf {
    my ($server, $port, %o) = @_;

    return "server = " . $server->url . "\nlocal_port = $port\n"
           . join '', map { "$_ = $o{$_}\n" } sort keys %o;
}


sub two {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    my @server = map { ZLTunnel::Server->new($t, features => 15) } 1 .. 2;
    my $lost = $t->free_port;
    my $head = "[agent]\ntoken_file = %%token_file%%\nlog_level = debug\n"
               . "reconnect_interval = 100ms\nmax_udp_sessions = 2\n"
               . "max_reconnect_interval = 200ms\n";
    my $conf = sub {
        my ($port) = @_;
        return "$head\[tunnel down]\n" . conf($server[0], $port)
               . "[tunnel udp]\nprotocol = udp\n" . conf($server[1], $port)
               . "[tunnel gone]\nserver = ws://127.0.0.1:$lost/\n"
               . "local_port = 1\n";
    };
    my $agent = $t->agent(token => $token, wait => 0, conf => $conf->(1));
    my @labels = ('down: ', 'udp: ', 'gone: ');

    for my $s (0, 1) {
        $server[$s]->wait(sub { %{ $server[$s]{services} } }) or die;
        provoke($server[$s]);
    }

    $agent->write_conf($conf->(2) =~ s/udp = 2/udp = 1/r);
    is(($agent->ask('reload'))[0], 0, 'a reload');
    $agent->ask('stop', 'udp');
    $agent->ask('start', 'udp');
    $server[1]->pass(0.5);
    $agent->{proc}->kill('TERM');
    $server[1]->wait(sub { $server[0]->turn(0); !$agent->{proc}->running }, 20);

    for my $re (qr/^\S+ WARN down: a connection to "down" failed/m,
                qr/^\S+ WARN udp: the UDP service "udp": 2 sessions/m,
                qr/^\S+ INFO udp: the UDP service "udp": \d+ sessions? open/m,
                qr/^\S+ INFO down: the service "down" leads to/m,
                qr/^\S+ WARN gone: the server cannot be reached/m,
                qr/^\S+ WARN gone: ws|^\S+ INFO gone: zltunnel-agent/m,
                qr/^\S+ DEBUG down: the service "down" is registered/m,
                qr/^\S+ WARN down: an answer about access/m,
                qr/^\S+ WARN down: an answer from the server/m,
                qr/^\S+ WARN down: a message of type Auth/m,
                qr/^\S+ INFO udp: told to stop/m) {
        like($agent->log, $re, "there is $re");
    }

    is(join("\n", unlabelled($agent, @labels)), '',
       'no line of a link is without its name');

    $agent->stop;
    $_->close_all for @server;
    $t->finish;
}


sub all {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    my @server = map { ZLTunnel::Server->new($t, features => 15) } 1 .. 2;
    my $agent = $t->agent(
        token => $token, wait => 0,
        conf => "[agent]\ntoken_file = %%token_file%%\nlog_level = debug\n"
                . "mode = all\nreconnect_interval = 100ms\n"
                . "max_reconnect_interval = 200ms\nmax_udp_sessions = 2\n"
                . join('', map { "server = " . $_->url . "\n" } @server)
                . "[service down]\nlocal = 1\n[service web]\nlocal = 1\n"
                . "[service udp]\nprotocol = udp\nlocal = 1\n"
                . "[access db]\nlocal = 0\n");

    for my $s (@server) {
        $s->wait(sub { keys %{ $s->{services} } == 3 }) or die;
        provoke($s);
    }

    my @labels = map { "agent at 127.0.0.1:$_->{port}: " } @server;
    is(join("\n", unlabelled($agent, @labels)), '',
       'each line says at which server');

    for my $label (@labels) {
        like($agent->log, qr/ \Q$label\E$_/, "$label$_")
            for 'the server has withdrawn', 'a connection to "down" failed',
                'the UDP service', 'the server asks to connect anew';
    }
    like($agent->log, qr/\Q$labels[0]\Ethe server refuses access to "db"/,
         'access');

    $agent->{proc}->kill('KILL');
    $agent->{proc}->wait(10);
    $_->close_all for @server;
    $t->finish;
}


sub one {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    my $server = ZLTunnel::Server->new($t, features => 15);
    my $agent = $t->agent(
        token => $token, wait => 0, server => $server->url,
        services => [ 'down:1', 'web:1', 'udp:1/udp' ],
        args => [ '--log-level', 'debug', '--max-udp-sessions', 2 ]);

    $server->wait(sub { keys %{ $server->{services} } == 3 }) or die;
    provoke($server);

    unlike($agent->log, qr/^\S+ [A-Z]+ agent\b/m, 'no line has a label');
    like($agent->log, qr/^\S+ $_/m, $_)
        for 'INFO connected \(3 services\)$', 'WARN a connection to "down"',
            'WARN the UDP service "udp": 2 sessions',
            'ERROR the server has withdrawn the service "web"';

    $agent->{proc}->kill('KILL');
    $agent->{proc}->wait(10);
    $server->close_all;
    $t->finish;
}
