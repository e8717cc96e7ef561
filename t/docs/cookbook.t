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

my $LETSENCRYPT = 'acme-v02.api.letsencrypt.org';
my @names = ('tunnel', map { "$_.tunnel" } qw(web wiki none git));
my @nodes = ZLTunnel::Doc->machines([ 'server', 'second', 'home' ],
    programs => [qw(jq nft fail2ban-regex)],
    hosts => { 'second.example.com' => 'second', $LETSENCRYPT => 'second',
               (map { ($_ => 'server') } qw(blog.t.example.com shop.example.org)),
               map { ("$_.example.com" => 'server') } @names },
    files => [ "$ZLTunnel::ROOT/t/lib/oauth2.py" ])
    or plan(skip_all => $ZLTunnel::Nodes::why);

my $doc = ZLTunnel::Doc->new('docs/cookbook.md',
                             map { $_->{name} => $_ } @nodes);
my %more = (
    'A wildcard certificate for hosts' => [ \&authority, \&renewed ],
    'A certificate for each host, by nginx' => [ \&authority_for_nginx,
                                                 \&no_resolver ],
    'Visitors have to log in' => [ \&provider, \&logged_in ],
    'Tokens of a database'    => [ \&database, \&no_database ],
    'Tokens that are JWTs'    => [ undef, \&forged ],
    'fail2ban'                => [ \&auth_log ],
    'From frp, from rathole'  => [ \&converter ],
    'Prometheus and Grafana'  => [ undef, sub { cron(); queries() } ],
    'Firewalls and SELinux'   => [ undef, \&firewalls ],
);

# what is not in Debian 12, or large
my %missing = (
    'A wildcard certificate for hosts' => sub {
        return lacking(qw(certbot pebble named))
               || (run('/usr/bin/python3', '-c', 'import certbot_dns_rfc2136'))[0]
                  && 'there is no python3-certbot-dns-rfc2136';
    },
    'A certificate for each host, by nginx' => sub {
        return 'there is no ngx_http_acme_module' if !acme_module();
        return lacking(qw(pebble named dnsmasq));
    },
);

for my $needs ([ 'Tokens of a database', 'psycopg2' ],
               [ 'Tokens that are JWTs', 'jwt' ])
{
    my ($title, $module) = @$needs;

    $missing{$title} = sub {
        return (run('/usr/bin/python3', '-c', "import $module"))[0]
               && "there is no python3-$module";
    };
}

# all build on the first section, and on nothing that another has left

for my $title ($doc->sections) {
    my ($before, $after) = @{ $more{$title} || [] };

    subtest $title => sub {
        my $why = $missing{$title} && $missing{$title}->();
        plan(skip_all => $why) if $why;

        $doc->restore;
        $before->() if $before;
        cmp_ok($doc->follow($title), '>', 2, 'its blocks');
        $after->() if $after;
    };

    $doc->keep if $title eq ($doc->sections)[0];
}

$doc->finish;

done_testing();


sub lacking {
    my @missing = grep { (run('sh', '-c', "command -v $_"))[0] } @_;

    return @missing && "there is no $missing[0]";
}


# Debian's nginx has its modules there; TEST_ACME_MODULE is one that was built.

sub acme_module {
    my ($file) = grep { -e } $ENV{TEST_ACME_MODULE} // (),
                 '/usr/lib/nginx/modules/ngx_http_acme_module.so';

    return $file;
}


# A CA that is asked by the name of Let's Encrypt, and asks the DNS of the domains,
# which is beside it.  Both sides trust it.

sub authority {
    my ($second, $server) = map { $doc->{place}{$_}{ip} } qw(second server);

    $doc->shell('second', <<"EOT");
ip addr replace 192.0.2.53/32 dev eth0
mkdir -p /tmp/ca
cd /tmp/ca
cat > named.conf << 'END'
options { directory "/tmp/ca"; pid-file none; recursion no; listen-on { any; };
          listen-on-v6 { none; }; dnssec-validation no; };
controls { };
key "acme." { algorithm hmac-sha256;
              secret "cGxlYXNlIG1ha2Ugb25lIG9mIHlvdXIgb3du"; };
zone "example.com" { type primary; file "zone.com"; update-policy {
    grant acme. name _acme-challenge.t.example.com. TXT; }; };
zone "example.org" { type primary; file "zone.org"; };
END
for top in com org; do cat > zone.\$top << END; done
\\\$TTL 60
@ SOA ns.example.\$top. admin.example.\$top. 1 60 60 3600 60
@ NS ns
ns A $second
* A $server
END
cat > pebble.json << END
{ "pebble": { "listenAddress": "127.0.0.1:14000",
  "managementListenAddress": "127.0.0.1:15000",
  "certificate": "/etc/nginx/tunnel.pem", "privateKey": "/etc/nginx/tunnel.key",
  "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "",
  "externalAccountBindingRequired": false } }
END
cat > nginx.conf << 'END'
pid /tmp/ca/nginx.pid;
error_log /tmp/ca/error.log;
events { }
http {
    access_log off;
    server {
        listen 443 ssl;
        ssl_certificate /etc/nginx/tunnel.pem;
        ssl_certificate_key /etc/nginx/tunnel.key;
        rewrite ^/directory\$ /dir break;
        location / { proxy_pass https://127.0.0.1:14000;
                     proxy_set_header Host \$host; }
    }
}
END
nginx -e /tmp/ca/error.log -c /tmp/ca/nginx.conf
named -c named.conf -g > named.log 2>&1 &
echo \$! > pids
PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 pebble -config pebble.json -dnsserver $second:53 > pebble.log 2>&1 &
echo \$! >> pids
EOT
    $doc->shell('server', "ip route replace 192.0.2.53 via $second;"
                . ' mkdir -p /etc/letsencrypt /var/lib/letsencrypt;'
                . ' mount -t tmpfs none /var/lib/letsencrypt');

    my $root = '';
    ok(wait_for(sub {
        $root = ($doc->shell('second',
            "curl -sSk https://$LETSENCRYPT/directory > /dev/null"
            . ' && curl -sSkf https://127.0.0.1:15000/roots/0'))[1];
        return $root =~ /BEGIN CERTIFICATE/;
    }), 'a CA') or diag($doc->logs('second'));

    $doc->shell($_, 'cat >> /etc/ssl/certs/ca-certificates.crt', $root)
        for qw(server home);
}


sub no_authority {
    $doc->shell('second', 'kill $(cat /tmp/ca/pids /tmp/ca/nginx.pid);'
                          . ' rm -r /tmp/ca');
}


# .. and is taken by nginx without a word to it

sub renewed {
    my $serial = 'openssl s_client -connect 127.0.0.1:443 -servername'
                 . ' blog.t.example.com < /dev/null 2> /dev/null'
                 . ' | openssl x509 -noout -serial';
    my $first = typed($serial);

    typed('certbot renew --force-renewal --no-random-sleep-on-renew');
    ok(wait_for(sub { typed_quietly($serial) ne $first }), 'a renewed one is used');
    no_authority();
}


sub authority_for_nginx {
    authority();

    $doc->shell('server', 'cat > /usr/lib/nginx/modules/ngx_http_acme_module.so',
                slurp(acme_module()));
    $doc->shell('server', 'dnsmasq -k --no-resolv --local=/org/ --user=root'
                          . ' --listen-address=127.0.0.1 --bind-interfaces'
                          . ' > /tmp/dnsmasq 2>&1 & echo $! > /tmp/dnsmasq.pid');
}


sub no_resolver {
    $doc->shell('server', 'kill $(cat /tmp/dnsmasq.pid)');
    no_authority();
}


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


# PostgreSQL as Debian starts it, with nothing in it

sub database {
    my ($bin) = glob '/usr/lib/postgresql/*/bin';

    $doc->shell('server', <<"EOT");
install -d -o postgres -g postgres /run/postgresql /tmp/pg
cd /tmp/pg
runuser -u postgres -- $bin/initdb -D data -A peer --no-sync > log
runuser -u postgres -- $bin/pg_ctl -D data -w -l data.log \\
    -o "-F -c listen_addresses= -c unix_socket_directories=/run/postgresql" \\
    start > log 2>&1
EOT
}


# .. and an agent that is refused by it tells why; without it, nobody comes in

sub no_database {
    my ($bin) = glob '/usr/lib/postgresql/*/bin';

    ok(wait_for(sub {
        ($doc->shell('home', 'systemctl restart zltunnel-agent;'
                     . ' sleep 1; cat /var/log/zltunnel-agent.log'))[1]
            =~ /the bill is not paid/
    }), 'the reason is told at home');

    $doc->shell('server', "cd /tmp/pg; runuser -u postgres -- $bin/pg_ctl"
                          . ' -D data -m immediate stop');

    is(($doc->shell('server', 'curl -s -o /dev/null -w "%{http_code}"'
                    . ' http://127.0.0.1:8070/'))[1], 503,
       'without its database the program cannot say');
}


# .. whoever signs one himself does not come in

sub forged {
    my ($rc, $out) = $doc->shell('server', <<'EOT');
openssl genpkey -quiet -algorithm RSA -out other.key
python3 -c "
import jwt, time
for key, alg, more in ((open('other.key').read(), 'RS256', 60),
                       ('secret', 'HS256', 60), (None, 'none', 60),
                       (open('issuer.key').read(), 'RS256', -60)):
    print(jwt.encode({'sub': 'ci', 'aud': 'tunnels', 'rights': 'services=web',
                      'exp': int(time.time()) + more}, key, algorithm=alg))" |
while read -r token; do
    curl -s -o /dev/null -w '%{http_code} ' -H "Authorization: Bearer $token"         http://127.0.0.1:8072/
done
EOT
    is($out, '401 401 401 401 ', 'forged, of other algorithms, and too old');
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


sub typed_quietly { return ($doc->shell('server', $_[0]))[1] }


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
