#!/usr/bin/perl

# Protects: what the agent does with few words.  The file that it finds by
# itself, help for each command with examples that it takes, a version by each
# of its names, a port for a service, and what was meant by a word with a typo.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Path qw(make_path);
use File::Temp ();
use Test::More;
use ZLTunnel;

my $system = '/etc/zltunnel/agent.conf';
my $dir = File::Temp::tempdir(CLEANUP => 1);

delete $ENV{$_} for 'XDG_CONFIG_HOME', grep { /^ZLTUNNEL_/ } keys %ENV;
$ENV{HOME} = "$dir/home";
$ENV{XDG_RUNTIME_DIR} = $dir;
chdir $dir or die;

subtest 'the file' => \&file;
subtest 'help' => \&help;
subtest 'versions' => \&versions;
subtest 'typos' => \&typos;

chdir '/';
done_testing();


sub agent { run({ timeout => 10 }, $ZLTunnel::AGENT, @_) }


sub conf {
    my ($path) = @_;

    make_path($path =~ s{/[^/]*$}{}r);
    write_file("$dir/token", "secret\n", 0600);
    write_file($path, "[agent]\nserver = ws://127.0.0.1:1/\n"
                      . "token_file = $dir/token\nreconnect_interval = 1h\n"
                      . "max_reconnect_interval = 1h\ncontrol = none\n"
                      . "[service web]\nlocal = 1\n");
}


sub file {
    plan(skip_all => "there is a $system") if -e $system;

    my ($rc, $out) = agent('check');
    is($rc, 2, 'none: exit 2');
    my $home = "$dir/home/.config/zltunnel/agent.conf";
    like($out, qr/which file\?  There is neither \Q$system nor $home\E; -c FILE, or ZLTUNNEL_SERVER and ZLTUNNEL_SERVICE without one$/m,
         'none: both are named');

    ($rc, $out) = agent();
    is($rc, 2, 'none, without a command: exit 2');
    like($out, qr/^Usage: .*^  connect /ms, 'and the help');

    variables();

    my $own = "$dir/home/.config/zltunnel/agent.conf";
    conf($own);
    ($rc, $out) = agent('check');
    is($rc, 0, 'the user\'s') or diag($out);
    like($out, qr/^\Q$own\E: OK/m, 'is named');

    conf("$dir/xdg/zltunnel/agent.conf");
    $ENV{XDG_CONFIG_HOME} = "$dir/xdg";
    like((agent('check'))[1], qr{^\Q$dir\E/xdg/zltunnel/agent.conf: OK}m,
         'below XDG_CONFIG_HOME');
    $ENV{XDG_CONFIG_HOME} = 'relative';
    like((agent('check'))[1], qr/^\Q$own\E: OK/m,
         'which counts only if it is absolute');
    delete $ENV{XDG_CONFIG_HOME};

    runs(@$_) for [], ['run'], [ '-c', $own ], [ "-c$own" ],
                  [ '--config', $own ], ["--config=$own"];

    # one that cannot be read is not passed over
    unlink $own;
    make_path($own);
    ($rc, $out) = agent('run');
    is($rc, 2, 'a folder in its place');
    like($out, qr/\Q$own\E: Is a directory/, 'is told');

    ($rc, $out) = agent('run', 'agent.conf');
    is($rc, 2, 'without -c');
    like($out, qr/"agent.conf" is not an option; is it the file\?  -c agent/,
         'is told');
}


# that the agent runs with these words

sub runs {
    my (@words) = @_;

    my $log = "$dir/log";
    unlink $log;
    my $agent = ZLTunnel::Proc->start(name => 'agent', out => $log,
                                      cmd => [ $ZLTunnel::AGENT, @words ]);
    ok(wait_for(sub { slurp($log) =~ /cannot be reached/ }), "@words: it runs")
        or diag(slurp($log));
    is($agent->stop, 0, 'it ends');
}


# Without a file variables say it all.

sub variables {
    write_file("$dir/token", "secret\n", 0600);
    local %ENV = (%ENV, ZLTUNNEL_SERVER => 'ws://127.0.0.1:1/',
                  ZLTUNNEL_TOKEN_FILE => "$dir/token",
                  ZLTUNNEL_SERVICE => 'web:1 ssh:22',
                  ZLTUNNEL_CONTROL => 'none');

    my ($rc, $out) = agent('check');
    is($rc, 0, 'no file, but variables: check');
    is($out, "the environment: OK, 2 services for ws://127.0.0.1:1/\n",
       'says of what');

    ($rc, $out) = agent('check', '--connect');
    is($rc, 1, 'check --connect');
    like($out, qr/^ +address +FAILED +127\.0\.0\.1:1: /m, 'tries the way');

    runs();
    runs('run', '--log-level', 'debug');

    ($rc, $out) = agent('check', '-c', "$dir/none.conf");
    is($rc, 2, 'a file that is named and is not there');
    like($out, qr/\Q$dir\E\/none\.conf: No such file/, 'is told');

    $ENV{ZLTUNNEL_SERVICE} = 'web';
    ($rc, $out) = agent('check');
    is($rc, 2, 'a service that is none');
    like($out, qr/ZLTUNNEL_SERVICE "web": expected/, 'is told');

    $ENV{ZLTUNNEL_SERVICE} = '';
    ($rc, $out) = agent('check');
    is($rc, 2, 'an empty variable');
    like($out, qr/which file\?/, 'says nothing');
}


sub help {
    my ($rc, $out) = agent('--help');
    is($rc, 0, '--help');
    is((agent('help'))[1], $out, 'help');
    is((agent('-h'))[1], $out, '-h');
    like($out, qr/^  zltunnel-agent init /m, 'how one begins');
    like((agent('help', 'access'))[1], qr/^  zltunnel-agent access \w+ --stdio /m,
         'what ssh takes');

    my @commands = $out =~ /^  (\w+) +\w/mg;
    is(join(' ', @commands[0 .. 2]), 'connect run check',
       'what is needed first comes first');

    for my $command (@commands) {
        my ($rc, $out) = agent('help', $command);
        is($rc, 0, "help $command");
        is($out, (agent($command, '--help'))[1], "$command --help is the same");
        unlike($out, qr/.{81}/, '80 columns');

        my ($examples) = $out =~ /^Examples:\n(.*)/ms;
        ok($examples, "$command has an example") or next;

        # options are taken one after the other, and --help is the last
        for my $example (split /\n(?=  \S)/, $examples) {
            $example =~ s/\\\n//g;
            $example =~ s/\bzltunnel-agent\b(.*?)(?=&&|$)/\$AGENT$1 --help/mg;
            local $ENV{AGENT} = $ZLTunnel::AGENT;
            my ($rc, $out) = run('sh', '-c', $example);
            is($rc, 0, $example =~ s/^ +//r) or diag($out);
        }
    }

    ($rc, $out) = agent('help', 'fly');
    is($rc, 2, 'help of no command');
    like($out, qr/there is no command "fly"; see --help/, 'is told');
}


sub versions {
    my ($rc, $out) = agent('--version');
    like($out, qr/^zltunnel-agent \d/, $out);

    for my $word (qw(version -V -v)) {
        ($rc, my $same) = agent($word);
        is($rc, 0, $word);
        is($same, $out, 'says so');
    }
}


sub typos {
    my @wrong = (
        [ 'there is no command "statsu"; did you mean "status"?', 'statsu' ],
        [ 'there is no command "Connect"; did you mean "connect"?',
          'Connect' ],
        [ 'there is no command "ls"; see --help', 'ls' ],
        [ '"--sevice" is not an option; did you mean "--service"?', 'connect',
          '--sevice', 'a:1' ],
        [ '"--token_file" is not an option; did you mean "--token-file"?',
          'run', '--token_file=x' ],
        [ '"--colour" is not an option', 'connect', '--colour', 'red' ],
        [ '"--jsn" is not an option; did you mean "--json"?', 'status',
          '--jsn' ],
    );

    for my $case (@wrong) {
        my ($say, @words) = @$case;
        my ($rc, $out) = agent(@words);
        is($rc, 2, "@words: exit 2");
        like($out, qr/^zltunnel-agent: \Q$say\E$/m, "@words: $say");
    }
}
