#!/usr/bin/perl

# Protects: docs/alerts.yaml and docs/grafana.json.  promtool loads the rules,
# and each of them fires in its test (alerts.yaml beside this); it takes every
# query of the dashboard; and what both ask for is what nginx and the agent
# tell, names and values of labels.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use JSON::PP ();
use Test::More;
use ZLTunnel;

my $t = ZLTunnel->new(
    workers => 1, range => 4,
    location => 'location = /metrics { zltunnel_status format=prometheus; }');
my $token = $t->token('alice');
$t->start;

my $echo = $t->service('greet');
my $udp = $t->free_port;
my $at = $t->free_port;
my $agent = $t->agent(token => $token, args => [ '--metrics', $at ],
                      services => [ "web:$echo->{port}",
                                    "dns:$udp/udp/private" ]);
ok($agent->in_state('agent', 'connected'), 'the agent is there');

my $told = join '', map { http_get($_, '/metrics')->{body} }
           $t->{http_port}, $at;

my $rules = slurp("$ZLTunnel::ROOT/docs/alerts.yaml");
my $board = JSON::PP::decode_json(slurp("$ZLTunnel::ROOT/docs/grafana.json"));
my @queries = map { $_->{expr} } map { @{ $_->{targets} || [] } }
              @{ $board->{panels} };

cmp_ok(scalar @queries, '>', 20, 'queries of the dashboard');

# what Grafana puts in place of its variables
s/\$__rate_interval/5m/g, s/\$instance/.*/g for @queries;
is((grep { /\$/ } @queries), 0, 'no other variable');

my $dir = "$t->{dir}/rules";
mkdir $dir;
write_file("$dir/alerts.yaml", $rules);
write_file("$dir/test.yaml",
           slurp("$ZLTunnel::ROOT/t/operate/alerts.yaml"));
write_file("$dir/board.yaml", JSON::PP::encode_json({ groups => [ {
    name => 'board', rules => [
        map { { record => "query:$_", expr => $queries[$_] } } 0 .. $#queries ],
} ] }));

promtool('check', 'rules', 'alerts.yaml');
promtool('check', 'rules', 'board.yaml');
promtool('test', 'rules', 'test.yaml');

my @alerts = $rules =~ /- alert: (\w+)/g;
my $tested = slurp("$dir/test.yaml");
is(scalar @alerts, 6, 'six alerts');
like($tested, qr/alertname: $_\n\s+exp_alerts:/, "$_ is fired") for @alerts;

asked('alerts.yaml', $rules);
asked('grafana.json', $_) for @queries;

$t->finish;


sub promtool {
    my @args = @_;

    my ($rc, $out) = run('sh', '-c', "cd $dir && promtool @args");
    is($rc, 0, "promtool @args") or diag($out);
}


# Each metric of a text is told, with each value that a label is to have.

sub asked {
    my ($where, $text) = @_;

    while ($text =~ /\b(zltunnel_\w+)(?:\{([^}]*)\})?/g) {
        my ($name, $labels) = ($1 =~ s/_bucket$//r, $2 // '');

        like($told, qr/^# TYPE \Q$name\E /m, "$where: $name");

        while ($labels =~ /(\w+)!?="([^"]*)"/g) {
            my ($label, $value) = ($1, $2);
            like($told, qr/^\Q$name\E\{.*\b$label="\Q$value\E"/m,
                 "$where: $name with $label=\"$value\"");
        }
    }
}
