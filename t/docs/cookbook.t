#!/usr/bin/perl

# Protects: the recipes of docs/cookbook.md.  Each is done as it is written, on
# a server and a machine behind it, and shows what it says that it shows.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;
use ZLTunnel::Doc;

my @names = ('tunnel', map { "$_.tunnel" } qw(web wiki none git));
my @nodes = ZLTunnel::Doc->machines([ 'server', 'second', 'home' ],
    programs => [qw(jq nft fail2ban-regex)],
    hosts => { 'second.example.com' => 'second',
               map { ("$_.example.com" => 'server') } @names },
    files => [ "$ZLTunnel::ROOT/t/lib/oauth2.py" ])
    or plan(skip_all => $ZLTunnel::Nodes::why);

my $doc = ZLTunnel::Doc->new('docs/cookbook.md',
                             map { $_->{name} => $_ } @nodes);
my %more = (
    'Visitors have to log in' => [ \&provider, \&logged_in ],
    'fail2ban'                => [ \&auth_log ],
    'From frp, from rathole'  => [ \&converter ],
    'Prometheus and Grafana'  => [ undef, \&cron ],
);

# all build on the first section, and on nothing that another has left

for my $title ($doc->sections) {
    my ($before, $after) = @{ $more{$title} || [] };

    subtest $title => sub {
        $doc->restore;
        $before->() if $before;
        cmp_ok($doc->follow($title), '>', 2, 'its blocks');
        $after->() if $after;
    };

    $doc->keep if $title eq ($doc->sections)[0];
}

$doc->finish;

done_testing();


sub provider {
    $doc->shell('server', 'python3 /mnt/oauth2.py 4180 &');
    ok(wait_for(sub {
        ($doc->shell('server', 'curl -s http://127.0.0.1:4180/'))[0] == 0
    }), 'who knows visitors');
}


# .. and the service learns who it is

sub logged_in {
    my ($rc, $out) = $doc->shell('home', 'curl -sSL -c jar -b jar'
                                 . ' -w "%{url_effective}"'
                                 . ' "https://wiki.tunnel.example.com/?a=b&c=d"');
    is($out, "the wiki at home\nhttps://wiki.tunnel.example.com/?a=b&c=d",
       'a visitor logs in, and is there');
}


# fail2ban comes with a jail for sshd, which wants its log

sub auth_log { $doc->shell('server', 'touch /var/log/auth.log') }


sub converter {
    my $text = slurp("$ZLTunnel::ROOT/docs/convert.py");
    $doc->shell('home', 'cat > convert.py', $text);
}


sub cron {
    my ($rc, $out, $err) = $doc->shell('server', <<'EOT');
mkdir -p /tmp/collector
sed 's/^[* ]* root //; s,/var/lib/prometheus/node-exporter,/tmp/collector,g' \
    /etc/cron.d/zltunnel | sh
ls /tmp/collector
command -v promtool > /dev/null || exit 0
promtool check metrics < /tmp/collector/zltunnel.prom
EOT
    is("$rc $out$err", "0 zltunnel.prom\n", 'and the file is there');
}
