#!/usr/bin/perl

# Protects: the recipes of docs/cookbook.md.  Each is done as it is written, on
# a server and a machine behind it, and shows what it says that it shows.  What
# its tables have for other firewalls and for Grafana is taken by these programs,
# or by what they read it with.

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
    'Prometheus and Grafana'  => [ undef, sub { cron(); queries() } ],
    'Firewalls and SELinux'   => [ undef, \&firewalls ],
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


# What is in backquotes in the rows of a table whose first column is like that.

sub column {
    my ($title, $first) = @_;

    my ($text) = $doc->{text} =~ /^## \Q$title\E\n(.*?)(?=^## |\z)/ms;
    return map { /`([^`]+)`/g } $text =~ /^\| $first \|(.*)\|$/mg;
}


sub there { return ($doc->shell('server', "command -v $_[0]"))[0] == 0 }


sub firewalls {
    my $title = 'Firewalls and SELinux';

    SKIP: {
        skip('there is no ufw', 1) if !there('ufw');

        my @commands = column($title, 'ufw');
        cmp_ok(scalar @commands, '==', 3, 'ufw');
        typed($_) for @commands;
        is(typed('ufw show added | grep allow'), join('', map { "$_\n" } @commands),
           'ufw has these rules');
    }

    # the same options, without a daemon

    SKIP: {
        skip('there is no firewalld', 1) if !there('firewall-offline-cmd');

        my @commands = column($title, 'firewalld');
        cmp_ok(scalar @commands, '==', 4, 'firewalld');

        for (@commands) {
            my $command = s/--reload/--check-config/r =~ s/ --permanent//r;
            ok($command =~ s/^firewall-cmd/firewall-offline-cmd/, $_);
            typed($command);
        }

        is(typed('firewall-offline-cmd --list-ports'),
           "30000-30099/tcp 30000-30099/udp\n", 'firewalld has these ports');
    }

    SKIP: {
        skip('there is no SELinux', 1)
            if !there('semanage') || !-e '/sys/fs/selinux/enforce';

        typed($_) for $doc->{text} =~ /`(semanage port [^`]+)`/g;
        typed('semanage port -d -t http_port_t -p tcp 30000-30099');
    }
}


sub typed {
    my ($command) = @_;

    my ($rc, $out, $err) = $doc->shell('server', $command);
    is($rc, 0, $command) or diag($out, $err);

    return $out;
}


# Names are those of prometheus.jq, and Prometheus can read it.

sub queries {
    my @queries = column('Prometheus and Grafana', '[a-z][^|`]*');
    my $metrics = typed('cat /tmp/collector/zltunnel.prom');
    my $rules = "groups:\n- name: grafana\n  rules:\n";

    cmp_ok(scalar @queries, '==', 5, 'queries');

    for (@queries) {
        like($metrics, qr/^# TYPE \Q$1\E /m, "$1 is there")
            while /(zltunnel_\w+)/g;
        $rules .= "  - record: zltunnel:q" . length($rules) . "\n    expr: '$_'\n";
    }

    SKIP: {
        skip('there is no promtool', 1) if !there('promtool');

        $doc->shell('server', 'cat > rules.yml', $rules);
        typed('promtool check rules rules.yml');
    }
}
