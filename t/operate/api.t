#!/usr/bin/perl

# Protects: zltunnel_api answers what there is: versions, lists, one tunnel,
# with the fields that were asked for, times by ISO 8601, figures as the status
# has them; compact for programs, laid out for people.  Errors are JSON, other
# methods are refused, and nothing of a token but its name is told.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Access;
use ZLTunnel::UDP;
use ZLTunnel::Wire qw(ext register);

my $t = ZLTunnel->new(
    workers => 2, range => 8, udp => 1, zltunnel => 'max_services 1000;',
    location => 'location /api/ { zltunnel_api; }
        location /only { zltunnel_api;
                         limit_except GET { deny all; } }');

my $alice = $t->token('alice', 'sessions=2 hosts=*.test');
my $bob = $t->token('bob', 'access=web expires=2099-01-02T00:00:00Z');
my $carol = $t->token('carol');
$t->start;

my $time = qr/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
my $spec;                      # docs/api.yaml
my $id = qr/^[0-9a-f]{32}$/;
my $echo = $t->service('greet');
my $udp = $t->free_port;
$t->spawn('udp-echo', $t->nettool, 'udp-echo', $udp);

$t->agent(token => $alice,
          services => [ "dns:$udp/udp", "web:$echo->{port}",
                       "site:$echo->{port}" ],
          args => [ '--host', 'a.test' ]);

my $visitor = visitor($t, $bob);
my $access = opened($visitor, 'web', ttl => 60);

my $c = connect_to($t->service_status('web')->{port});
is(scalar <$c>, "220 ready\r\n", 'a connection');

my $u = ZLTunnel::UDP->client($t->service_status('dns')->{port});
ok(wait_for(sub { $u->send('x' x 100); defined $u->recv(1) }), 'a datagram');


subtest 'what there is' => sub {
    is(body('/api/'), "[1]\n", 'versions');

    my $root = api('/api/1/');
    is($root->{version}, $t->status->{version}, 'the version');
    is($root->{registry}, 'default', 'the registry');
    ok(!$root->{write}, 'nothing can be changed');
    like($root->{time}, $time, 'the time');
    is_deeply($root->{endpoints},
              [qw(tunnels services hosts ports access tokens workers zone)],
              'lists');
    is_deeply(api('/api/1')->{endpoints}, $root->{endpoints}, 'without "/"');

    for my $name (@{ $root->{endpoints} }) {
        my $list = api("/api/1/$name");
        ok($list, $name);
        is(ref $list->{$name}, 'ARRAY', '.. is one') if $name ne 'zone';
    }

    is((get('/api')->{head} =~ m{^Location: (\S+)}mi)[0] // '',
       "http://localhost:$t->{http_port}/api/", 'a location without its "/"');
};

subtest 'tunnels' => sub {
    ok(wait_for(sub { defined tunnel('alice')->{rtt} }), 'a round trip');

    my $tunnel = tunnel('alice');
    my ($st) = grep { $_->{name} eq 'alice' } @{ $t->status->{tunnels} };

    like($tunnel->{id}, $id, 'an id');
    is($tunnel->{$_}, $st->{$_}, $_)
        for qw(id state agent address idle_channels pending);
    is($tunnel->{services}, 3, 'services');
    is($tunnel->{active}, 2, 'connections');
    is($tunnel->{total}, 2, '.. in all');
    cmp_ok($tunnel->{bytes_in}, '>=', 100, 'bytes in');
    cmp_ok($tunnel->{bytes_out}, '>=', 111, '.. and out');
    like($tunnel->{connected}, $time, 'since');
    like($tunnel->{last_seen}, $time, 'last seen');
    cmp_ok($tunnel->{rtt}, '<', 10000, 'round trip, ms');
    is($tunnel->{$_}, undef, "no $_") for qw(disconnected last_error);

    my $one = api("/api/1/tunnels/$tunnel->{id}");
    is($one->{token}, 'alice', 'one of them');
    is_deeply([ sort map { $_->{name} } @{ $one->{services} } ],
              [qw(dns site web)], '.. with its services');

    is_deeply(api("/api/1/tunnels/\U$tunnel->{id}")->{id}, $tunnel->{id},
              'an id in capitals');
};

subtest 'services, hosts, ports' => sub {
    my %s = map { $_->{name} => $_ } @{ api('/api/1/services')->{services} };
    my $st = $t->service_status('web');

    is($s{web}{$_}, $st->{$_}, $_)
        for qw(id protocol port local_port active total bytes_in bytes_out);
    is_deeply($s{site}{hosts}, ['a.test'], 'its host');
    is($s{web}{state}, 'up', 'it is up');
    is($s{web}{token}, 'alice', 'its token');
    is_deeply($s{web}{dropped}, {}, 'no datagrams to drop');
    is($s{web}{last_failure}, undef, 'no failure');
    cmp_ok($s{dns}{datagrams_in}, '>', 0, 'datagrams');
    is($s{dns}{dropped}{kernel}, 0, '.. none dropped');

    my ($host) = @{ api('/api/1/hosts')->{hosts} };
    is("$host->{name} $host->{service} $host->{service_id}",
       "a.test site $s{site}{id}", 'a host');

    my @ports = sort map { "$_->{protocol} $_->{port} $_->{service}" }
                @{ api('/api/1/ports')->{ports} };
    is_deeply(\@ports, [ "tcp $s{web}{port} web", "udp $s{dns}{port} dns" ],
              'ports');
};

subtest 'access, tokens, workers, zone' => sub {
    my ($a) = @{ api('/api/1/access')->{access} };
    is($a->{id}, unpack('H*', $access), 'the access session');
    is("$a->{token} $a->{service}", 'bob web', '.. of a visitor');
    like($a->{$_}, $time, ".. $_") for qw(created expires);

    my @tokens = @{ api('/api/1/tokens')->{tokens} };
    is_deeply([ map { $_->{name} } @tokens ], [qw(alice bob carol)],
              'tokens by name');
    is_deeply([ map { $_->{tunnels} } @tokens ], [ 1, 1, 0 ], '.. in use');
    is_deeply([ map { $_->{services} } @tokens ], [ 3, 0, 0 ], '.. services');
    is_deeply([ map { $_->{access} } @tokens ], [ 0, 1, 0 ], '.. access');
    is_deeply([ map { $_->{sessions} } @tokens ], [ 2, 1, 1 ], '.. may be');
    is($tokens[0]{expires}, undef, 'one does not expire');
    is($tokens[1]{expires}, '2099-01-02T00:00:00Z', 'another does');

    my $tokens = body('/api/1/tokens');
    is(index($tokens, sha256_hex($_)), -1, 'no hash')
        for $alice, $bob, $carol;

    is_deeply([ sort map { $_->{pid} } @{ api('/api/1/workers')->{workers} } ],
              [ sort $t->workers ], 'workers');
    is(api('/api/1/zone')->{size}, $t->status->{zone}{size}, 'the zone');
};

subtest 'fields' => sub {
    is_deeply([ map { join ' ', sort keys %$_ }
                @{ api('/api/1/tunnels?fields=id,state')->{tunnels} } ],
              [ ('id state') x 2 ], 'of a list');
    is_deeply([ map { join ' ', sort keys %$_ }
                @{ api('/api/1/services?fields=hosts%2Cname')->{services} } ],
              [ ('hosts name') x 3 ], 'a list within, and "%2C"');

    my $one = tunnel('alice')->{id};
    is_deeply([ sort keys %{ api("/api/1/tunnels/$one?fields=services,id") } ],
              [qw(id services)], 'of one');
    is(api('/api/1/services?fields=dropped,name')->{services}[0]{port}, undef,
       'an object is left out or there as a whole');
    is_deeply(api('/api/1/tunnels?fields=nosuch')->{tunnels}, [ {}, {} ],
              'none of them');
    is_deeply([ keys %{ api('/api/1/zone?fields=free') } ], ['free'],
              'of an object');
};

subtest 'for people and for programs' => sub {
    my $zone = qr/^\{"size":\d+,"used":\d+,/;
    my $laid = qr/^\{\n  "size": \d+,\n  "used": /;

    like(body('/api/1/zone'), $zone, 'compact');
    like(body('/api/1/zone?pretty'), $laid, '?pretty');
    like(body('/api/1/zone?fields=size,used&pretty'), $laid, '&pretty');
    like(body('/api/1/zone?pretty=1'), $laid, '?pretty=1');
    like(body('/api/1/zone?fields=pretty,size,used'), qr/^\{"size":/,
         'not as a field');

    like(body('/api/1/zone', $_), $laid, $_)
        for 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
            'application/json;q=0.5, text/*';
    like(body('/api/1/zone', $_), $zone, $_)
        for '*/*', 'application/json', 'application/json, text/html;q=0.9',
            'text/html;q=0.1, */*;q=0.5', 'text/html, application/json', ',;q=';
};

subtest 'errors' => sub {
    my $none = '0' x 32;

    for ([ '/api/1/nosuch', 404, 'PathNotFound' ],
         [ '/api/1/tunnels/x', 404, 'PathNotFound' ],
         [ "/api/1/services/$none", 404, 'PathNotFound' ],
         [ "/api/1/tunnels/$none/nosuch", 404, 'PathNotFound' ],
         [ "/api/1/tunnels/$none/a/b", 404, 'PathNotFound' ],
         [ '/api/2/', 404, 'UnknownVersion' ],
         [ "/api/1/tunnels/$none", 404, 'TunnelNotFound' ])
    {
        my ($path, $status, $code) = @$_;
        my $r = get($path);

        is($r->{status}, $status, $path);
        like($r->{head}, qr{^Content-Type: application/json\r?$}m, '.. JSON');

        my $e = JSON::PP::decode_json($r->{body})->{error};
        is("$e->{status} $e->{code}", "$status $code", ".. $code");
        isnt($e->{text}, '', '.. and words');
    }

    for my $method (qw(POST PUT DELETE PATCH OPTIONS)) {
        my $r = request($method, '/api/1/tunnels');

        is($r->{status}, 405, $method);
        like($r->{head}, qr/^Allow: GET, HEAD\r?$/m, '.. what may be');
    }

    my $r = request('HEAD', '/api/1/tunnels');
    is($r->{status}, 200, 'HEAD');

    is(get('/only/1/zone')->{status}, 200, 'with limit_except');
    is(request('DELETE', '/only/1/zone')->{status}, 403, '.. it limits');
};

subtest 'docs/api.yaml' => sub {
    my ($rc, $out) = run('python3', '-c', <<'EOT', "$ZLTunnel::ROOT/docs/api.yaml");
import json, sys, yaml
print(json.dumps(yaml.safe_load(open(sys.argv[1]))))
EOT
    plan(skip_all => 'python3-yaml is not there') if $rc;

    $spec = JSON::PP::decode_json($out);
    my %paths = %{ $spec->{paths} };
    my @lists = @{ api('/api/1/')->{endpoints} };

    is_deeply([ sort grep { !/\{/ } keys %paths ],
              [ sort '/', '/1/', map { "/1/$_" } @lists ], 'all lists');

    for my $path ((grep { !/\{/ } sort keys %paths), '/1/tunnels/{id}') {
        my $schema = $paths{$path}{get}{responses}{200}{content}
                     {'application/json'}{schema};
        my $real = $path =~ s/\{id\}/tunnel('alice')->{id}/er;

        is_deeply([ differs(api("/api$real"), $schema, '') ], [],
                  "$path is as it says");
    }

    is_deeply([ differs(JSON::PP::decode_json(get('/api/1/x')->{body}),
                        { '$ref' => '#/components/schemas/Error' }, '') ],
              [], 'an error, too');

    is_deeply([ differs({ no => 1, port => 'y', service_id => 'x' },
                        { '$ref' => '#/components/schemas/Port' }, '') ],
              [ '.no is not in it', '.port is no integer',
                '.service_id has another form', (map { ".$_ is missing" }
                qw(protocol service state token tunnel)) ],
              'what differs would be found');
};

subtest 'when an agent has gone' => sub {
    $visitor->close;

    ok(wait_for(sub { tunnel('bob')->{state} eq 'disconnected' }),
       'disconnected');
    like(tunnel('bob')->{disconnected}, $time, 'since');
};

subtest 'in the configuration' => sub {
    for ([ 'location = /a { zltunnel_api; }', qr/must be in a location with/ ],
         [ 'location ~ /a { zltunnel_api; }', qr/must be in a location with/ ],
         [ 'location /a { zltunnel_api write=yes; }',
           qr/invalid parameter "write=yes" of "zltunnel_api"/ ],
         [ 'location /a { zltunnel_api registry=no; }', qr/"no"/ ],
         [ 'location /a { zltunnel_api; zltunnel_status; }',
           qr/cannot be where/ ])
    {
        my ($rc, $out) = $t->test_conf(location => $_->[0]);
        isnt($rc, 0, $_->[0]);
        like($out, $_->[1], '.. says why');
    }

    $t->write_conf;
};

close $c;
# Which fields are asked for is looked up once, not for each of many services.

subtest 'many services, a long list of fields' => sub {
    my $n = 500;
    my $x = ZLTunnel::Wire->agent($t, $carol);

    for my $i (1 .. $n) {
        $x->send_msg(register("s$i", ext => ext(1 => "\1")));
        $x->expect('RegisterOk') or die 'no service';
    }

    # the shortest of some times is the same on a busy machine

    my ($all, $none) = map {
        my ($query, @took) = ($_);

        for (1 .. 20) {
            my $since = time;
            get("/api/1/services$query");
            push @took, time - $since;
        }

        cmp_ok(scalar(@{ api("/api/1/services$query")->{services} }), '>=', $n,
               'all of them');
        (sort { $a <=> $b } @took)[0];
    } '', '?fields=' . ',' x 7900;

    cmp_ok($none, '<', 5 * $all, 'is looked up in no time');
    $x->close;
};

$t->finish;


sub request {
    my ($method, $path, $accept) = @_;

    return http_request($t->{http_port}, "$method $path HTTP/1.1\r\n"
        . "Host: localhost:$t->{http_port}\r\n"
        . ($accept ? "Accept: $accept\r\n" : '')
        . "Connection: close\r\n\r\n", $method eq 'HEAD' ? 1 : undef);
}

sub get { request('GET', @_) }

sub body {
    my $r = get(@_);
    is($r->{status}, 200, $_[0]) if $r->{status} != 200;
    return $r->{body};
}

sub api { JSON::PP::decode_json(body(@_)) }

# What of some JSON is not as its schema says.  All that is in the schema has to
# be there, but the drops of TCP.

sub differs {
    my ($value, $schema, $at) = @_;

    if (my $ref = $schema->{'$ref'}) {
        $schema = $spec->{components}{schemas}{ $ref =~ s{.*/}{}r };
    }

    return $schema->{nullable} ? () : "$at is null" if !defined $value;

    my $type = $schema->{type};

    if ($type eq 'array') {
        return "$at is no array" if ref $value ne 'ARRAY';
        return map { differs($_, $schema->{items}, "$at\[]") } @$value;
    }

    if ($type eq 'object') {
        return "$at is no object" if ref $value ne 'HASH';

        my %p = %{ $schema->{properties} };
        return ((map { $p{$_} ? differs($value->{$_}, $p{$_}, "$at.$_")
                              : "$at.$_ is not in it" } sort keys %$value),
                (map { "$at.$_ is missing" }
                 grep { !exists $value->{$_} } sort keys %p)
                    x ($at !~ /dropped$/));
    }

    return "$at is no boolean"
        if $type eq 'boolean' && !JSON::PP::is_bool($value);
    return "$at is no integer" if $type eq 'integer' && $value !~ /^\d+$/;

    my $form = $schema->{pattern}
               // (($schema->{format} // '') eq 'date-time' ? $time : qr/^/);
    return "$at has another form" if $value !~ $form;

    return "$at is another word"
        if $schema->{enum} && !grep { $_ eq $value } @{ $schema->{enum} };

    return ();
}


sub tunnel {
    my ($token) = @_;
    return (grep { $_->{token} eq $token }
            @{ api('/api/1/tunnels')->{tunnels} })[0] // {};
}
