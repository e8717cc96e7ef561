#!/usr/bin/perl

# Protects: the files of TLS that somebody renews on disk while an agent runs,
# an authority's certificates, the agent's own and its key.  Nobody tells the
# agent: it reads them when it connects the next time.  While they do not fit,
# or are missing, what was read before serves.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Wire;

my $folders = 0;

subtest 'the authority, by rename' => sub { authority(\&renamed) };
subtest 'the authority, behind a link that is swapped' => sub {
    authority(\&swapped);
};
subtest 'the certificate and its key' => \&pair;

done_testing();


# An authority NAME in the test's directory, and a certificate that it has
# issued, for localhost.

sub issue {
    my ($t, $ca, $name) = @_;

    my $dir = "$t->{dir}/pki";
    my @key = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
               '-nodes');
    mkdir $dir;

    run_ok('openssl', 'req', '-x509', @key, '-keyout', "$dir/$ca.key", '-out',
           "$dir/$ca.pem", '-days', 3, '-subj', "/CN=$ca")
        if !-e "$dir/$ca.pem";

    write_file("$dir/ext", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
    run_ok('openssl', 'req', @key, '-keyout', "$dir/$name.key", '-out',
           "$dir/$name.csr", '-subj', "/CN=$name");
    run_ok('openssl', 'x509', '-req', '-in', "$dir/$name.csr", '-CA',
           "$dir/$ca.pem", '-CAkey', "$dir/$ca.key", '-CAcreateserial',
           '-days', 3, '-extfile', "$dir/ext", '-out', "$dir/$name.pem");
    chmod 0600, "$dir/$name.key";

    return $dir;
}


# FILE gets what NEW has, whole or not at all.

sub renamed {
    my ($dir, $file, $new) = @_;

    write_file("$dir/$file.new", slurp($new), 0600);
    rename "$dir/$file.new", "$dir/$file" or die "$file: $!";
}


# As Kubernetes does it: the file is a link to ..data/FILE, and ..data one to a
# folder, which is another one then.

sub swapped {
    my ($dir, $file, $new) = @_;

    my $folder = "..v" . ++$folders;

    mkdir "$dir/$folder";
    write_file("$dir/$folder/$file", slurp($new), 0644);
    symlink $folder, "$dir/..data.new" or die $!;
    rename "$dir/..data.new", "$dir/..data" or die $!;
    symlink "..data/$file", "$dir/$file" if !-l "$dir/$file";
}


# nginx has the certificate NAME from now on.

sub server {
    my ($t, $port, $name, $more) = @_;

    $t->write_conf(http => <<"EOT");
        log_format shown '\$ssl_client_serial';
        server {
            listen 127.0.0.1:$port ssl;
            ssl_certificate $t->{dir}/pki/$name.pem;
            ssl_certificate_key $t->{dir}/pki/$name.key;
            @{[ $more // '' ]}
            location = /tunnel/v1 {
                zltunnel;
                access_log $t->{dir}/logs/shown shown;
            }
        }
EOT
    $t->{nginx}->kill('HUP') if $t->{nginx};
}


sub serves {
    my ($agent) = @_;

    my $c = ZLTunnel::Wire::Socket->new($agent->port('e')) or return 0;
    $c->send('hello');
    my $ok = ($c->take(5, 5) // '') eq 'hello';
    $c->close;

    return $ok;
}


sub connected {
    my ($agent) = @_;

    my $n = () = $agent->log =~ /connected as/g;
    return $n;
}


sub authority {
    my ($renew) = @_;

    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    my $port = $t->free_port;

    issue($t, 'old-ca', 'old');
    my $pki = issue($t, 'new-ca', 'new');

    server($t, $port, 'old');
    $t->start;
    $renew->($t->{dir}, 'ca.pem', "$pki/old-ca.pem");

    my $echo = $t->service('echo');
    my $agent = $t->agent(
        token => $token, services => [ "e:$echo->{port}" ],
        server => "wss://127.0.0.1:$port/tunnel/v1",
        args => [ '--ca-file', "$t->{dir}/ca.pem",
                  '--reconnect-interval', '200ms' ]);

    ok(serves($agent), 'connected');

    # the server is first

    server($t, $port, 'new');
    ok($agent->logged(qr/is not signed by what is in "/),
       'the authority is renewed: unknown to the agent');

    my $before = connected($agent);
    $renew->($t->{dir}, 'ca.pem', "$pki/new-ca.pem");

    ok(wait_for(sub { connected($agent) > $before }),
       'and known when its file has been renewed');
    ok($agent->logged(qr/files of TLS have changed, and were read again/),
       'which the log tells');
    ok(wait_for(sub { serves($agent) }), 'served');

    # a file that is missing takes nothing away

    $before = connected($agent);
    rename "$t->{dir}/ca.pem", "$t->{dir}/ca.pem.away" or die $!;
    $t->{nginx}->kill('HUP');

    ok(wait_for(sub { connected($agent) > $before }),
       'while the file is missing what was read before serves');
    ok($agent->logged(qr/what was read before is kept: no certificates can/),
       'which the log tells, too');
    ok(wait_for(sub { serves($agent) }), 'served');

    my @lines = $agent->log =~ /what was read before is kept/g;
    cmp_ok(scalar @lines, '<=', 2, 'once');

    rename "$t->{dir}/ca.pem.away", "$t->{dir}/ca.pem" or die $!;
    $t->{nginx}->kill('HUP');
    ok($agent->logged(qr/is\ kept.*were\ read\ again/xs), 'and it is back');

    $t->finish;
}


sub pair {
    my $t = ZLTunnel->new;
    my $token = $t->token('alice');
    my $port = $t->free_port;

    issue($t, 'ca', $_) for qw(server one two);
    my $dir = "$t->{dir}/pki";

    my %serial = map {
        $_ => (run_ok('openssl', 'x509', '-noout', '-serial', '-in',
                      "$dir/$_.pem") =~ /serial=(\w+)/)[0]
    } qw(one two);

    server($t, $port, 'server', "ssl_verify_client on;"
                                . "ssl_client_certificate $dir/ca.pem;");
    $t->start;

    renamed($t->{dir}, "mine.$_", "$dir/one.$_") for qw(pem key);

    my $echo = $t->service('echo');
    my $agent = $t->agent(
        token => $token, services => [ "e:$echo->{port}" ],
        server => "wss://127.0.0.1:$port/tunnel/v1",
        args => [ '--ca-file', "$dir/ca.pem", '--cert', "$t->{dir}/mine.pem",
                  '--key', "$t->{dir}/mine.key",
                  '--reconnect-interval', '200ms' ]);

    ok(serves($agent), 'connected');

    # the certificate is there, its key is not yet

    my $before = connected($agent);
    renamed($t->{dir}, 'mine.pem', "$dir/two.pem");
    $t->{nginx}->kill('HUP');

    ok(wait_for(sub { connected($agent) > $before }),
       'a certificate without its key: the former pair serves');
    ok($agent->logged(qr/is kept: the key in .* is not that of the certif/),
       'which the log tells');
    ok(wait_for(sub { serves($agent) }), 'served');
    unlike(slurp("$t->{dir}/logs/shown"), qr/$serial{two}/,
           'nothing else was shown');

    $before = connected($agent);
    renamed($t->{dir}, 'mine.key', "$dir/two.key");
    $t->{nginx}->kill('HUP');

    ok(wait_for(sub { connected($agent) > $before }),
       'and with it the new pair does');
    ok(wait_for(sub {
        slurp("$t->{dir}/logs/shown") =~ /^$serial{two}$/m;
    }), 'as nginx has seen');
    ok(wait_for(sub { serves($agent) }), 'served');

    $t->finish;
}
