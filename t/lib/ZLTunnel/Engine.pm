package ZLTunnel::Engine;

# The engine of a directory: a real redis-server or valkey-server on a port of
# its own, and a client that speaks its protocol.
#
#     plan(skip_all => ...) if ZLTunnel::Engine::missing();
#     my $engine = ZLTunnel::Engine->start($t);
#     my $a = ZLTunnel->new($engine->node, ...);
#     $engine->ask(qw(HGETALL zlt:node:...));

use strict;
use warnings;

use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep);
use ZLTunnel::Proc qw(wait_for run);


sub program {
    my ($found) = grep { -x } map { my $p = $_; map { "$_/$p" }
                                    split /:/, "$ENV{PATH}:/usr/sbin:/sbin" }
                              qw(redis-server valkey-server);
    return $found;
}


# It is beside the other one, of the same build.

sub module {
    return $ENV{TEST_ZLT_MODULE} =~ s{[^/]+$}{ngx_zltunnel_cluster_module.so}r
        if $ENV{TEST_ZLT_MODULE};
    return "$ZLTunnel::ROOT/objs/ngx_zltunnel_cluster_module.so";
}


# Why there can be none, or ''.

sub missing {
    return 'no redis-server and no valkey-server' if !program();
    return 'make CLUSTER=1 has not been done, or hiredis is missing'
        if !-e module();
    return '';
}


# Options: machine, a ZLTunnel::Nodes on which it runs; all others are those of the
# server, without dashes.

sub start {
    my ($class, $t, %o) = @_;

    my $machine = delete $o{machine};
    my $self = bless { t => $t, port => $t->free_port, options => \%o,
                       machine => $machine,
                       address => $machine ? $machine->{ip} : '127.0.0.1' },
                     $class;
    $self->again;

    return $self;
}


sub again {
    my ($self, %o) = @_;

    my %options = (port => $self->{port}, bind => $self->{address}, save => '',
                   appendonly => 'no', 'protected-mode' => 'no', dir => $self->{t}{dir},
                   %{ $self->{options} }, %o);

    my @cmd = (program(), map { ("--$_", $options{$_}) } sort keys %options);

    @cmd = $self->{machine}->inside(@cmd) if $self->{machine};

    $self->{proc} = ZLTunnel::Proc->start(
        name => 'the engine', out => "$self->{t}{dir}/logs/engine",
        cmd => \@cmd);

    push @{ $self->{t}{procs} }, $self->{proc};

    wait_for(sub { eval { $self->ask('PING') } || $@ =~ /NOAUTH/ })
        or die "the engine does not start\n";
}


sub url { "redis://$_[0]{address}:$_[0]{port}/0" }

sub kill { my ($self, $sig) = @_; $self->{proc}->kill($sig) }

sub stop {
    my ($self) = @_;

    $self->{proc}->kill('KILL');
    $self->{proc}->wait(10);
}


# What a server of the tests needs to have a directory: options of its new().
# Options: url, more (parameters of "cluster"), address (of the node).

sub node {
    my ($self, %o) = @_;

    my $url = $o{url} // $self->url;
    my $t = $self->{t};
    my $certs = $t->certs;
    my $port = $t->free_port;
    my $more = $o{more} // 'refresh=1s';
    my $address = $o{address} // '127.0.0.1';

    return (main => 'load_module ' . module() . ';',
            node_port => $port,
            zltunnel => "cluster $url node=$address:$port $more;
                         cluster_certificate $certs/server.pem;
                         cluster_certificate_key $certs/server.key;
                         cluster_trusted_certificate $certs/server.pem;");
}


# A connection of its own; what was asked is sent, and one answer read.

sub connection {
    my ($self) = @_;

    return IO::Socket::INET->new(PeerAddr => $self->{address}, Timeout => 10,
                                 PeerPort => $self->{port})
           || die "the engine is not there: $@\n";
}


sub ask {
    my ($self, @args) = @_;

    my $s = $self->connection;
    print $s command(@args);

    return answer($s);
}


# Many commands at once, without their answers.

sub tell {
    my ($self, @commands) = @_;

    my $s = $self->connection;

    while (my @some = splice @commands, 0, 1000) {
        print $s join '', map { command(@$_) } @some;
        answer($s) for @some;
    }
}


sub command {
    return join '', '*' . @_ . "\r\n",
                    map { '$' . length($_) . "\r\n$_\r\n" } @_;
}


sub answer {
    my ($s) = @_;

    my $line = <$s> // die "the engine has closed the connection\n";
    $line =~ s/\r\n$//;
    my ($type, $text) = $line =~ /^(.)(.*)$/;

    die "$text\n" if $type eq '-';
    return $text if $type eq '+' || $type eq ':';

    if ($type eq '$') {
        return if $text < 0;
        read $s, my $data, $text + 2;
        return substr $data, 0, $text;
    }

    return if $text < 0;
    return [ map { scalar answer($s) } 1 .. $text ];
}


# { field => value } of each node, by its id

sub nodes {
    my ($self, $prefix) = @_;

    $prefix //= 'zlt:';
    my %nodes;

    for my $key (@{ $self->ask('KEYS', "${prefix}node:*") }) {
        my ($id) = $key =~ /:([^:]+)$/;
        $nodes{$id} = { @{ $self->ask('HGETALL', $key) } };
    }

    return \%nodes;
}


# What all clients of it do from now on, as "MONITOR" has it; ->() are the
# lines so far.

sub watch {
    my ($self) = @_;

    my $s = $self->connection;
    print $s command('MONITOR');
    answer($s);
    $s->blocking(0);
    my $text = '';

    return sub {
        while (sysread $s, my $some, 65536) { $text .= $some }
        return split /\r\n/, $text;
    };
}


1;
