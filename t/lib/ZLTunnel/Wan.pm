package ZLTunnel::Wan;

# A long path: packets to and from a network namespace of its own, "far", are
# delayed, lost and limited on the way.  The test is near, in the namespace that
# it has anyway.
#
#     my $wan = ZLTunnel::Wan->new($t) or plan(skip_all => $ZLTunnel::Wan::why);
#     $wan->path(50, rate => 50_000);      # ms each way, kbit/s
#     ZLTunnel::Proc->start(cmd => [ $wan->far('nginx', ...) ]);
#
# Near has the address $NEAR on it, far has $FAR.

use strict;
use warnings;

use ZLTunnel::Net;
use ZLTunnel::Proc qw(wait_for slurp run);

our ($NEAR, $FAR) = ('10.9.0.1', '10.9.0.2');
our $why;                              # there is none


sub new {
    my ($class, $t) = @_;

    return no_path('no network namespace of its own')
        if !ZLTunnel::Net::own();
    return no_path('no /dev/net/tun') if !-e '/dev/net/tun';

    my $self = bless { t => $t, set => 0, log => "$t->{dir}/logs/wan" },
                     $class;

    $self->{ns} = ZLTunnel::Proc->start(
        name => 'far', out => "$self->{log}-far",
        cmd => [ 'unshare', '--net', '--', 'sh', '-c',
                 'ip link set lo up && echo ready; exec sleep 100000' ]);

    wait_for(sub { slurp("$self->{log}-far") =~ /^ready/ }, 10)
        or return no_path('the far namespace: ' . slurp("$self->{log}-far"));

    $self->{proc} = ZLTunnel::Proc->start(
        name => 'wan', out => $self->{log}, stdin => 1,
        cmd => [ $t->nettool, 'wan', $$, $self->{ns}->pid ]);

    wait_for(sub { slurp($self->{log}) =~ /^ready/ || !$self->{proc}->running },
             20);
    return no_path('no tun devices: ' . slurp($self->{log}))
        if slurp($self->{log}) !~ /^ready/;

    for my $side ([ $NEAR ], [ $FAR, $self->far ]) {
        my ($ip, @in) = @$side;

        for (qw(addr link)) {
            my ($rc, $out) = run(@in, 'ip', $_ eq 'addr'
                ? ('addr', 'add', "$ip/24", 'dev', 'wan0')
                : ('link', 'set', 'wan0', 'up'));
            return no_path("ip: $out") if $rc;
        }

        # the same wherever it runs; without it, whatever there is

        run(@in, 'sysctl', '-qw', 'net.ipv4.tcp_congestion_control=cubic');
    }

    # to the end: what the two sides have to say when they end passes here

    push @{ $t->{paths} }, $self->{proc}, $self->{ns};

    return $self;
}


sub no_path { $why = $_[0]; return undef }


# A command as it is run at the far side.

sub far {
    my ($self, @cmd) = @_;

    return ('nsenter', '--net=/proc/' . $self->{ns}->pid . '/ns/net', '--',
            @cmd);
}


# Starts one, which logs to a file of that name.

sub start {
    my ($self, $name, @cmd) = @_;

    my $proc = ZLTunnel::Proc->start(name => $name,
                                     out => "$self->{t}{dir}/logs/$name",
                                     cmd => [ $self->far(@cmd) ]);
    push @{ $self->{t}{procs} }, $proc;

    return $proc;
}


# Starts an nginx at the far side, "service", with that text in its http and
# stream blocks; in them %DIR% is a directory for it, which is returned.

sub nginx {
    my ($self, %o) = @_;

    my $dir = "$self->{t}{dir}/far";
    my ($modules) = ZLTunnel::load_modules() =~ /^(.*_stream_.*\n)/m;
    my $user = $> == 0 ? 'user www-data;' : '';

    $modules //= '';
    s/%DIR%/$dir/g for values %o;

    mkdir $dir;
    mkdir "$dir/temp";
    chmod 0755, $dir;
    chmod 0777, "$dir/temp";

    ZLTunnel::write_file("$dir/nginx.conf", <<"EOT");
$modules
$user
daemon off;
pid $dir/nginx.pid;
error_log $dir/error.log;
events {}
http {
    access_log off;
    client_max_body_size 0;
    client_body_temp_path $dir/temp/body;
    proxy_temp_path $dir/temp/proxy;
    fastcgi_temp_path $dir/temp/fastcgi;
    uwsgi_temp_path $dir/temp/uwsgi;
    scgi_temp_path $dir/temp/scgi;
    $o{http}
}
stream {
    $o{stream}
}
EOT

    $self->start('service', $ZLTunnel::NGINX, '-p', $dir, '-c',
                 "$dir/nginx.conf", '-e', "$dir/error.log");

    return $dir;
}


# Options: rate, kbit/s; queue, bytes before it, as many as half a second brings
# by default; loss, per mille.

sub path {
    my ($self, $delay, %o) = @_;

    my $rate = $o{rate} // 0;
    my $queue = $o{queue} // $rate * 1000 / 8 / 2;

    $self->set(join ' ', $delay, $o{loss} // 0, $rate, $queue);
}


# As a NAT does that loses its table: what is open now goes nowhere.

sub forget { $_[0]->set('forget') }


sub set {
    my ($self, $line) = @_;

    $self->{proc}->say($line);
    my $n = ++$self->{set};

    wait_for(sub { (() = slurp($self->{log}) =~ /^set$/mg) >= $n }, 10)
        or die 'no path';
}


1;
