#!/usr/bin/perl

# Protects: nginx and HAProxy accept the configurations that docs/ shows beside
# its walk-throughs.  Each statement is put where it belongs; only the names of
# files are the test's.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;

my $t = ZLTunnel->new;
my $certs = $t->certs;
my $n = 0;

$t->token($_) for qw(site database);

for my $doc (qw(directives operations security)) {
    my $text = slurp("$ZLTunnel::ROOT/docs/$doc.md");

    while ($text =~ /^```(\w*)\n(.*?)^```$/msg) {
        my ($kind, $block) = ($1, $2);

        nginx($doc, $block) if $kind eq 'nginx';
        haproxy($doc, $block) if $block =~ /^# HAProxy/;
    }

    nginx($doc, $1) while $text =~ /\n\n((?: {4}(?:map|upstream) .*\{\n)
                                        (?: {4}.*\n)+)/xg;
}

cmp_ok($n, '>', 5, "$n blocks");
$t->finish;


sub nginx {
    my ($doc, $block) = @_;

    $n++;
    $block =~ s/(ssl_certificate +)[^;]+/$1$certs\/server.pem/g;
    $block =~ s/(ssl_certificate_key +)[^;]+/$1$certs\/server.key/g;
    $block =~ s/(ssl_(?:client|trusted)_certificate +)[^;]+/$1$certs\/ca.pem/g;
    $block =~ s/(listen +)10\.0\.0\./${1}127.0.0./g;
    $block =~ s/(proxy_cache_path +)\S+/$1$t->{dir}\/temp\/cache/g;
    $block =~ s/(token_file +)[^;]+/$1$t->{dir}\/tokens/g;
    $block =~ s/^load_module .*\n//mg;

    my %in = (main => '', http => '', location => '', stream => '');

    if ($block =~ /^events /m) {
        $in{main} = $block;

    } else {
        %in = (%in, main => "events { }\n");
        $in{main} .= "zltunnel { token_file $t->{dir}/tokens; }\n"
            if $block !~ /^zltunnel /m;
        $in{ place($_, $block) } .= "$_\n" for statements($block);
    }

    my $tls = "ssl_certificate $certs/server.pem;\n"
              . "ssl_certificate_key $certs/server.key;\n";
    my $server = $in{location} =~ /\S/ ? "server { $in{location} }\n" : '';
    my ($rc, $out) = $t->test_conf(conf => ZLTunnel::load_modules()
        . "pid $t->{dir}/test.pid;\n" . $in{main}
        . ($in{http} . $server ? "http { $tls $in{http} $server }\n" : '')
        . ($in{stream} ? "stream { $in{stream} }\n" : ''));

    is($rc, 0, "$doc: " . ($block =~ /^\s*(.*)$/m)[0]) or diag($out, $block);
}


# Where a statement belongs.

sub place {
    my ($statement, $block) = @_;

    return 'main' if $statement =~ /^(?:stream|http|zltunnel|worker_\w+) /;
    return 'location' if $statement =~ /^location /;
    return 'stream' if $statement =~ /ssl_preread/
                       || $block =~ /proxy_pass/ && $block !~ /location|:\/\//;
    return 'http';
}


sub statements {
    my ($text) = @_;

    my @statements;

    $text =~ s/#.*//g;
    push @statements, $1 =~ s/^\s+//r
        while $text =~ /(\s*[^;{}]+(?:;|(\{(?:[^{}]|(?2))*\})))/g;

    return @statements;
}


sub haproxy {
    my ($doc, $block) = @_;

    SKIP: {
        skip('there is no haproxy', 1)
            if (run('sh', '-c', 'command -v haproxy'))[0] != 0;

        $block =~ s{/etc/haproxy/tunnel\.pem}{$t->{dir}/front.pem};
        write_file("$t->{dir}/front.pem", slurp("$certs/server.pem")
                                          . slurp("$certs/server.key"));
        write_file("$t->{dir}/haproxy.cfg", $block);

        my ($rc, $out) = run('haproxy', '-c', '-f', "$t->{dir}/haproxy.cfg");
        is($rc, 0, "$doc: HAProxy") or diag($out);
    }
}
