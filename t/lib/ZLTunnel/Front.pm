package ZLTunnel::Front;

# What the tests of t/nodes/front*.t share: three nodes as docs/operations.md has
# them, one agent with "mode = all", and something in front, which is the
# page's as well.
#
#     my $f = ZLTunnel::Front->new;           # skips where it cannot be
#     $f->nginx('nginx, in front', sub { ... });
#     $f->agent($url);
#     $f->at_each('...');
#     $f->finish;
#
# The agents' name is other.example; what is in front is at 127.0.0.1.

use strict;
use warnings;

use Test::More;
use ZLTunnel;
use ZLTunnel::App ();
use ZLTunnel::Fleet;
use ZLTunnel::Names;

our $NAME = 'other.example';


sub new {
    my ($class, %o) = @_;

    my $why = ZLTunnel::Names::missing();
    plan(skip_all => $why) if $why;

    my $fleet = ZLTunnel::Fleet->new(3, rights => 'hosts=web.example.com',
        range => 4, workers => 2, zltunnel => 'reconnect_grace 2s;', %o);
    my $first = $fleet->{t}[0];
    my $self = bless { fleet => $fleet, t => $fleet->{t}, ip => $fleet->{ip},
                       dir => $first->{dir}, fronts => 0 }, $class;

    # of the page, but for what is plain here
    $self->{port} = { map { $_ => $fleet->port } 443, 8443, 'http', 8080 };
    $self->{front} = { port => $first->{base},
                       map { $_ => $fleet->port } 443, 'http' };

    $self->node($_) for 0 .. 2;
    $fleet->start;

    $self->{app} = ZLTunnel::App::app($first, 'home');
    $self->{echo} = $first->service('echo');
    $self->{names} = ZLTunnel::Names->new($first);
    $self->{names}->hosts($NAME => '127.0.0.1');

    return $self;
}


# The node has what the page says, and its server of http the hosts as well.

sub node {
    my ($self, $n) = @_;

    my $t = $self->{t}[$n];
    my $ip = $self->{ip}[$n];
    my $certs = $t->certs;
    my $block = ZLTunnel::Fleet->block('Several servers', '# each node');
    my ($zltunnel) = $block =~ /^zltunnel \{\n(.*?)^\}/ms;
    my ($http) = $block =~ /^http \{\n(.*?)^\}/ms;
    my $id = (qw(a b c))[$n];

    $zltunnel =~ s/^ *token_file.*\n//m;
    $zltunnel =~ s/(node_id +)a/$1$id/ or die 'no node_id';
    $http =~ s/listen (\d+)/listen $ip:$self->{port}{$1}/g;
    $http =~ s/\btunnel\.(pem|key)/$certs\/other.$1/g;
    $http =~ s/10\.0\.0\.9/127.0.0.1/;
    $http =~ s/(server \{)/upstream tunnelled { zltunnel_host \$host; }
               $1 listen $ip:$self->{port}{http}; listen $ip:$self->{port}{8080};
               location \/ { include zltunnel_proxy.conf;
                            proxy_pass http:\/\/tunnelled; }/;

    $t->write_conf(http => $http, zltunnel => "$t->{zltunnel}\n$zltunnel");
}


# What is in front, as the page says: the addresses and ports are the test's.

sub block {
    my ($self, $has, $change) = @_;

    my $block = ZLTunnel::Fleet->block('A balancer', $has);
    my %port = %{ $self->{port} };

    $change->($block) if $change;

    $block =~ s/((?:listen|bind) +:?)443\b/$1 . $self->{front}{443}/e;
    $block =~ s/(listen |bind )\s*:?(?=\d)/${1}127.0.0.1:/g;
    $block =~ s/10\.0\.0\.([123])/$self->{ip}[$1 - 1]/g;
    $block =~ s/:(8443|8080)\b/:$port{$1}/g;
    $block =~ s/\bport 443\b/port $port{443}/g;
    $block =~ s/:30000-30099/:$self->{front}{port}/;

    return $block;
}


# nginx in front; it has http and the services' port, too.

sub nginx {
    my ($self, $change) = @_;

    my $block = $self->block('nginx, in front', $change);
    my ($upstream) = $block =~ /(upstream nodes .*?\n    \})/s;
    my $dir = "$self->{dir}/front-" . ++$self->{fronts};
    my $more = '';

    for my $name (qw(http port)) {
        my $to = $name eq 'http' ? $self->{port}{http} : $self->{t}[0]{base};

        $more .= $upstream =~ s/nodes/$name/r =~ s/hash.*//r
                           =~ s/:\d+;/:$to;/gr
                 . "server { listen 127.0.0.1:$self->{front}{$name};"
                 . " proxy_pass $name; proxy_connect_timeout 1s; }\n";
    }

    $block =~ s/\}\s*\z/$more}\n/;
    mkdir $dir;
    ZLTunnel::write_file("$dir/nginx.conf", ZLTunnel::load_modules() . <<"EOT");
worker_processes 2;
worker_rlimit_nofile 8192;
daemon off;
pid $dir/nginx.pid;
error_log $self->{dir}/logs/front-$self->{fronts}.log;
events { worker_connections 4096; }
$block
EOT

    $self->started('nginx in front', $ZLTunnel::NGINX, '-p', $dir, '-c',
                   "$dir/nginx.conf", '-e', "$dir/error.log");
}


sub haproxy {
    my ($self, $has, $change) = @_;

    my $file = "$self->{dir}/front-" . ++$self->{fronts} . '.cfg';
    ZLTunnel::write_file($file, $self->block($has, $change));
    $self->started('haproxy', 'haproxy', '-db', '-f', $file);
}


sub started {
    my ($self, $name, @cmd) = @_;

    $self->{proc}->stop if $self->{proc};
    $self->{proc} = ZLTunnel::Proc->start(
        name => $name, cmd => \@cmd,
        out => "$self->{dir}/logs/front-$self->{fronts}.out");
    push @{ $self->{t}[0]{procs} }, $self->{proc};

    wait_for(sub { connect_to($self->{front}{443})
                   || !$self->{proc}->running }) && $self->{proc}->running
        or die "no $name: " . slurp($self->{proc}{out});
}


# The agent, with a service of http and one with a port.

sub agent {
    my ($self, $url, @lines) = @_;

    my $lines = join '', map { "$_\n" } @lines;
    my $ca = $self->{t}[0]->certs . '/ca.pem';

    return $self->{agent} = $self->{t}[0]->agent(
        wait => 0, token => $self->{fleet}{token},
        program => $self->{names}->program, conf => <<"EOT");
[agent]
server = $url
mode = all
ca_file = $ca
token_file = %%token_file%%
reconnect_interval = 300ms
max_reconnect_interval = 1s
$lines
[service web]
local = 127.0.0.1:$self->{app}{port}
host = web.example.com
[service echo]
local = 127.0.0.1:$self->{echo}{port}
remote_port = $self->{t}[0]{base}
EOT
}


# The nodes that have an agent, as they say themselves.

sub nodes {
    my ($self) = @_;

    return grep {
        my $st = $self->{t}[$_]->status;
        $st && grep { $_->{state} eq 'connected' } @{ $st->{tunnels} };
    } 0 .. 2;
}


sub is_at {
    my ($self, $what, @nodes) = @_;

    ok(wait_for(sub { join(' ', $self->nodes) eq "@nodes" }, 30),
       "$what: the agent is at @nodes")
        or diag('at ' . join(' ', $self->nodes), "\n", $self->{agent}->log);

    # which the servers know before the agent does

    my $links = sub {
        scalar grep { $_->{state} eq 'connected' }
               @{ ($self->{agent}->status || {})->{tunnels} || [] };
    };

    wait_for(sub { $links->() == @nodes });
    is($links->(), scalar @nodes, "$what: a link at each, and no other");
}


# One request, of a connection of its own.

sub get {
    my ($self, $ip, $port, $path) = @_;

    my $s = connect_to($port, PeerAddr => $ip) or return { status => 0 };

    return ZLTunnel::App::request($port, 'GET ' . ($path // '/'),
                                  host => 'web.example.com', socket => $s);
}


# Twelve of twelve, at an address.

sub twelve {
    my ($self, $what, $ip, $http, $port) = @_;

    is(join(' ', map { $self->get($ip, $http)->{status} } 1 .. 12),
       join(' ', (200) x 12), "$what: twelve requests of twelve");

    my $n = 0;

    for (1 .. 12) {
        my $c = ZLTunnel::Wire::Socket->new($port, PeerAddr => $ip) or next;
        $c->send('hello');
        $n++ if ($c->take(5, 20) // '') eq 'hello';
        $c->close;
    }

    is($n, 12, "$what: twelve connections of twelve");
}


# Each node has both, at the same port and by the same name.

sub at_each {
    my ($self, $what) = @_;

    $self->twelve("$what, node $_", $self->{ip}[$_], $self->{port}{http},
                  $self->{t}[0]{base}) for 0 .. 2;
}


sub in_front {
    my ($self, $what) = @_;

    $self->twelve("$what, in front", '127.0.0.1',
                  @{ $self->{front} }{qw(http port)});
}


sub finish { $_[0]{fleet}->finish }


1;
