#!/usr/bin/perl

# Protects: files that come from a volume of Kubernetes, or from elsewhere
# through links.  The server's tokens, and the agent's token, authority,
# certificate, key and configuration, are links to links to a folder; an update
# is a link that leads to another folder, and the former one is gone.  Both
# follow that without a reload, but for the configuration; and what is missing
# for a while, or for an instant, takes nothing away.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(sleep time);
use ZLTunnel;
use ZLTunnel::Volume;
use ZLTunnel::Wire;

subtest "the server's tokens" => \&tokens;
subtest 'all files of an agent' => \&agent;

done_testing();


# A token of NAME: itself, and its line.

my %token;

sub token { $token{ $_[0] } //= ZLTunnel::random_token() }

sub lines {
    return join '', map { sha256_hex(token($_)) . " $_ sessions=4\n" } @_;
}


# The name of nginx's configuration, $dir/tokens, leads to FILE.

sub leads {
    my ($t, $file) = @_;

    symlink $file, "$t->{dir}/tokens.new" or die $!;
    rename "$t->{dir}/tokens.new", "$t->{dir}/tokens" or die $!;
}


sub admitted { ZLTunnel::Wire->admitted($_[0], token($_[1])) }

sub told { my ($t, $re) = @_; return scalar(() = $t->log =~ /$re/g) }


# tokens -> current/tokens, current -> releases/1, releases/1/tokens ->
# ../../volume/tokens, and there as kubelet has it.

sub tokens {
    my $other = file_systems();
    my $t = ZLTunnel->new(workers => 2);
    my $dir = $t->{dir};
    my $volume = ZLTunnel::Volume->new("$dir/volume");

    $t->{secrets} = [ map { token($_) } qw(keeper leaver comer) ];
    $volume->write(tokens => lines(qw(keeper leaver)), other => 'x');

    mkdir $_ for "$dir/releases", map { "$dir/releases/$_" } 1, 2;
    symlink 'releases/1', "$dir/current" or die $!;
    symlink '../../volume/tokens', "$dir/releases/1/tokens" or die $!;
    leads($t, 'current/tokens');

    $t->start;

    my $echo = $t->service('echo');
    my ($keeper, $leaver) = map {
        $t->agent(token => token($_), services => [ "$_:$echo->{port}" ])
    } qw(keeper leaver);

    my @c = map { ZLTunnel::Wire::Socket->new($_->port($_ == $keeper
                                              ? 'keeper' : 'leaver')) }
            $keeper, $leaver;
    $_->send('before') for @c;
    is($_->take(6, 10), 'before', 'a connection') for @c;

    # one leaves, one comes

    leads($other, 'otto/tokens') if $other;
    $volume->put(tokens => lines(qw(keeper comer)));

    like($c[1]->ending(20), qr/reset|eof/, 'whose token is gone is cut');
    ok(wait_for(sub { admitted($t, 'comer') }), 'one that is new is let in');
    ok(wait_for(sub { told($t, qr/tokens has changed, it holds 2/) == 2 }),
       'both workers have read it');

    SKIP: {
        skip('only root can have file systems of its own', 3) if !$other;
        like(slurp("$other->{dir}/logs/stderr"), qr/^(\d+)\n\1\n/m,
             'files of one number, length and time in two file systems');
        ok(wait_for(sub { admitted($other, 'otto') }), '.. are two files');
        ok(!admitted($other, 'anna'), '.. of which the new one counts');
    }

    # what is missing, here for longer than a worker takes to look

    $volume->put(tokens => undef);
    ok(wait_for(sub { told($t, qr/stat\(\) failed/) == 1 }),
       'it is missing: the log tells');
    ok(admitted($t, $_), "$_ is let in all the same") for qw(keeper comer);

    # it is back where another link leads, further up

    $volume->put(tokens2 => lines(qw(keeper)));
    symlink '../../volume/tokens2', "$dir/releases/2/tokens" or die $!;
    symlink 'releases/2', "$dir/current.new" or die $!;
    rename "$dir/current.new", "$dir/current" or die $!;

    ok(wait_for(sub { told($t, qr/is in order again, it holds 1/) == 1 }),
       'a folder above is another one: followed');
    ok(wait_for(sub { !admitted($t, 'comer') }), 'who is not in it is out');

    $c[0]->send('after');
    is($c[0]->take(5, 10), 'after', 'who was there all the time has noticed'
       . ' nothing');
    is(scalar(() = $keeper->log =~ /connect/g), 2, 'nor has its agent');

    $_->close for @c;
    $t->finish($other // ());
}


# Each file system counts its inodes by itself, and what copies a file may copy
# its time.

sub file_systems {
    my @private = qw(unshare --mount --propagation private);

    return if $> != 0 || (run(@private, qw(mount -t tmpfs none /mnt)))[0] != 0;

    my $t = ZLTunnel->new;
    my $dir = $t->{dir};

    $t->{secrets} = [ map { token($_) } qw(anna otto) ];
    write_file("$dir/$_.tokens", lines($_), 0644) for qw(anna otto);
    write_file("$dir/with-volumes", "#!/bin/sh\nexec @private sh -c '"
        . join(' && ', map { "mkdir $dir/$_ && mount -t tmpfs none $dir/$_"
                             . " && chmod 755 $dir/$_"
                             . " && cp $dir/$_.tokens $dir/$_/tokens"
                             . " && touch -d \@1000000000 $dir/$_/tokens"
                             . " && stat -c %i $dir/$_/tokens >&2"
                         } qw(anna otto))
        . " && exec \"\$\@\"' sh $ZLTunnel::NGINX \"\$\@\"\n", 0755);
    leads($t, 'anna/tokens');

    local $ZLTunnel::NGINX = "$dir/with-volumes";
    $t->start;
    ok(admitted($t, 'anna'), 'the token of one file system');

    return $t;
}


# An authority, and certificates for the server and for the agent.

sub issue {
    my ($t, $ca) = @_;

    my $dir = "$t->{dir}/$ca";
    my @key = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
               '-nodes');

    mkdir $dir;
    run_ok('openssl', 'req', '-x509', @key, '-keyout', "$dir/ca.key", '-out',
           "$dir/ca.crt", '-days', 3, '-subj', "/CN=$ca");
    write_file("$dir/ext", "subjectAltName=IP:127.0.0.1\n");

    for my $name (qw(server agent)) {
        run_ok('openssl', 'req', @key, '-keyout', "$dir/$name.key", '-out',
               "$dir/$name.csr", '-subj', "/CN=$name");
        run_ok('openssl', 'x509', '-req', '-in', "$dir/$name.csr", '-CA',
               "$dir/ca.crt", '-CAkey', "$dir/ca.key", '-CAcreateserial',
               '-days', 3, '-extfile', "$dir/ext", '-out', "$dir/$name.crt");
    }

    return (map { $_ => slurp("$dir/$_") } 'ca.crt'),
           map { ("tls.$_" => slurp("$dir/agent.$_")) } qw(crt key);
}


sub server {
    my ($t, $port, $ca) = @_;

    my $dir = "$t->{dir}/$ca";

    $t->write_conf(http => <<"EOT");
        log_format shown '\$ssl_client_verify \$ssl_client_i_dn';
        server {
            listen 127.0.0.1:$port ssl;
            ssl_certificate $dir/server.crt;
            ssl_certificate_key $dir/server.key;
            ssl_verify_client on;
            ssl_client_certificate $dir/ca.crt;
            location = /tunnel/v1 {
                zltunnel;
                access_log $t->{dir}/logs/shown shown;
            }
        }
EOT
    $t->{nginx}->kill('HUP') if $t->{nginx};
}


# A Secret has it all: nobody tells the agent but of its configuration.

sub agent {
    my $t = ZLTunnel->new;
    my $dir = $t->{dir};
    my $port = $t->free_port;
    my $volume = ZLTunnel::Volume->new("$dir/secret", mode => 0400);
    my $conf = "[agent]\nserver = wss://127.0.0.1:$port/tunnel/v1\n"
               . "token_file = token\nca_file = ca.crt\ncert = tls.crt\n"
               . "key = tls.key\nreconnect_interval = 200ms\n"
               . "max_reconnect_interval = 400ms\n";

    $t->{secrets} = [ token('former'), token('new') ];
    write_file("$dir/tokens", lines('former'), 0644);

    my %former = issue($t, 'former');
    my %new = issue($t, 'new');

    server($t, $port, 'former');
    $t->start;

    my $echo = $t->service('echo');

    $volume->write(%former, token => token('former') . "\n",
                   'agent.conf' => "$conf" . "[service a]\n"
                                   . "local = 127.0.0.1:$echo->{port}\n");
    mkdir "$dir/etc";
    symlink '../secret/agent.conf', "$dir/etc/agent.conf" or die $!;

    # by the volume's own name, since what is relative is beside the file

    my $agent = $t->agent(conf => '', args => [ '-c',
                                                $volume->path('agent.conf') ]);
    ok(serves($agent, 'a'), 'connected');

    # all at once, as one Secret has it; the server is first

    server($t, $port, 'new');
    write_file("$dir/tokens.new", lines('new'), 0644);
    rename "$dir/tokens.new", "$dir/tokens" or die $!;
    ok($agent->logged(qr/is not signed by what is in/),
       'another authority, another token: the agent is not let in');

    $volume->write(%{ $volume->{files} }, %new, token => token('new') . "\n");

    ok($agent->logged(qr/connected as "new"/, 30), 'nor told, and is back');
    ok(wait_for(sub { serves($agent, 'a') }), 'and serves');
    like(slurp("$dir/logs/shown"), qr/^SUCCESS CN=new$/m,
         'with the certificate that is new');

    # the whole volume empty for a while: nothing is taken away

    my %files = %{ $volume->{files} };
    my $ups = () = $agent->log =~ /connected as "new"/g;

    $volume->write(other => 'x');
    $t->{nginx}->kill('HUP');
    ok(wait_for(sub { $ups < (() = $agent->log =~ /connected as "new"/g) }),
       'an empty volume: what was read before serves');
    ok(wait_for(sub { serves($agent, 'a') }), 'and the service does');

    my ($rc, $out) = $agent->ask('reload');
    isnt($rc, 0, 'no configuration: a reload is refused');
    ok(serves($agent, 'a'), 'and changes nothing');

    # .. and a configuration, which is read when the agent is told

    $volume->write(%files, 'agent.conf' => $files{'agent.conf'} =~ s/ a\]/ b]/r);
    $agent->{proc}->kill('HUP');
    ok(wait_for(sub { serves($agent, 'b') }), 'its service is another one');

    $t->finish;
}


sub serves {
    my ($agent, $name) = @_;

    my $port = $agent->port($name) or return 0;
    my $c = ZLTunnel::Wire::Socket->new($port) or return 0;

    $c->send('hello');
    my $ok = ($c->take(5, 5) // '') eq 'hello';
    $c->close;

    return $ok;
}
