#!/usr/bin/perl

# Protects: dashboard.html in a real browser, beside a real nginx that has the
# location of docs/operations.md.  It shows no tunnel, one, and 2,000 with ten services each; what agents call themselves
# is text, and no other script than its own runs; it acts where write=on is, by
# the keyboard alone, and nowhere else; it goes on by itself when nginx has been
# away; it is dark where that is preferred, and has the width of a phone.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Digest::SHA qw(sha256_base64);
use Encode qw(encode_utf8);
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);
use ZLTunnel;
use ZLTunnel::Access;
use ZLTunnel::Browser;
use ZLTunnel::Wire qw(ext register);

my $TUNNELS = 2000;
my $SERVICES = 10;             # of each of them

plan(skip_all => 'there is no chromium') unless ZLTunnel::Browser::there();
need_nofile($TUNNELS + 1000);

# as the document has it, but for where things are

my ($location) = slurp("$ZLTunnel::ROOT/docs/operations.md")
    =~ m{^```nginx\n(location /zltunnel/ .*?)^```}ms;
$location =~ s{/usr/share/zltunnel/}{pages/};
$location =~ s{10\.0\.0\.0/8}{127.0.0.1};
$location =~ s{zltunnel\.passwords}{passwords};

my $page = slurp("$ZLTunnel::ROOT/ngx_zltunnel_module/dashboard.html");

my $t = ZLTunnel->new(
    workers => 2, zone => '64m', range => 40,
    zltunnel => 'max_tunnels 2500; heartbeat_interval 1h;
                 heartbeat_timeout 2h;',
    location => "$location location /api/ { zltunnel_api; }");

my $alice = $t->token('alice');
my $bob = $t->token('bob', 'access=web');
my $mallory = $t->token('mallory', 'services=*');
my $many = $t->token('many', "sessions=$TUNNELS");

mkdir "$t->{dir}/pages";
write_file("$t->{dir}/pages/dashboard.html", $page, 0644);
write_file("$t->{dir}/passwords", "ops:{PLAIN}secret\n", 0644);
$t->start;

my $echo = $t->service('echo');
my $b = ZLTunnel::Browser->start($t);
my $at = "http://ops:secret\@127.0.0.1:$t->{http_port}/zltunnel/dashboard.html";


subtest 'the policy' => sub {
    for (qw(script style)) {
        my ($text) = $page =~ m{<$_[^>]*>(.*?)</$_>}s;
        my ($hash) = $page =~ /$_-src 'sha256-([^']*)'/;

        is(pad(sha256_base64($text)), $hash, "the hash of the $_");
    }

    unlike($page, qr/unsafe|\son\w+=|\sstyle=/, 'nothing inline besides');
    unlike($page =~ s{http://www\.w3\.org/2000/svg}{}gr, qr{https?://},
           'nothing of anybody else');
};

subtest 'no tunnel' => sub {
    is(http_get($t->{http_port}, "/zltunnel/$_")->{status}, 401,
       "who may: /zltunnel/$_") for '', 'dashboard.html', 'api/1/tunnels';

    $b->open($at =~ s/dashboard\.html//r);
    ok(shows('There are no tunnels.'), 'so it says');
    is(tile('Tunnels'), '0', '.. the figure');
    like(text('header'), qr/default on \S+ \(node [0-9a-f]{8}\), version/,
         'where it is');
};

my $agent = $t->agent(token => $alice, services => [ "web:$echo->{port}" ]);
my $c = connect_to($agent->port('web'));

subtest 'one tunnel' => sub {
    ok($b->until(q(document.querySelectorAll('tbody tr').length === 1)),
       'it comes by itself');
    like(row('alice'), qr/alice connected 127\.0\.0\.1 /, 'what it is');

    ok($b->until(q([...document.querySelectorAll('.rate')]
                   .some(e => /[1-9].*B\/s/.test(e.textContent))),
                 undef, sub { syswrite $c, 'x' x 5000; sysread $c, my $in, 5000 }),
       'what goes through it');
    ok($b->until(q(/^M.*L/.test(document.querySelector('td .spark path')
                   .getAttribute('d')))), '.. has a line');

    $b->js(q(document.querySelector('.open').click()));
    ok($b->until(q(document.querySelectorAll('.detail tbody tr').length === 1)),
       'opened, its service');
    like(text('.detail'), qr/Agent ?zltunnel-agent/, '.. what else is known');
    $b->js(q(document.querySelector('.open').click()));

    for my $list (qw(services ports tokens workers hosts access gone)) {
        $b->js("location.hash = '#$list'");
        ok(shows({ services => 'web', ports => $agent->port('web'),
                   tokens => 'mallory', workers => ($t->workers)[0],
                   hosts => 'No service has a host',
                   access => 'no access sessions',
                   gone => 'No tunnel has gone' }->{$list}), $list);
    }
};

subtest 'names that are no names' => sub {
    my $tag = '<img src=x onerror=pwned=1><script>pwned=1</script>';
    my $turned = "\x{202e}txt.exe";
    my $long = 'w' x 255;

    my $x = ZLTunnel::Wire->agent($t, $mallory, features => 0x107,
                                  agent => encode_utf8("$tag$turned"));
    $x->send_msg(register($_)) for encode_utf8('שלום'), $long;
    $x->send_msg(register('sick', ext =>
        ext(5 => pack 'C a*', 1, encode_utf8("$tag$turned"))));
    $x->expect('RegisterOk') for 1 .. 3;

    $b->js(q(location.hash = '#services'));
    ok(shows($long), '255 bytes');
    ok(shows('שלום'), 'from right to left');
    ok(shows($tag), 'tags');
    is($b->js(q(/\u202e/.test(document.body.innerText))) ? 1 : 0, 0,
       'nothing that turns the text');
    is($b->js(q([...document.querySelectorAll('td > *')].filter(e =>
                !e.matches('bdi, .state, svg')).length)), 0, 'each isolated');

    $b->look(320, 800);
    for my $list (qw(services tunnels ports)) {
        $b->js("location.hash = '#$list'");
        ok($b->until(q(document.querySelectorAll('tbody tr').length > 1)),
           "$list of all");
        narrow($list);
    }

    $b->js(q(location.hash = '#tunnels'));
    ok(shows('mallory'), 'among the tunnels');
    $b->js(q([...document.querySelectorAll('.open')].pop().click()));
    ok(shows($tag), 'as an agent');
    narrow('a tunnel that is open');
    $b->js(q([...document.querySelectorAll('.open')].pop().click()));
    $b->look(1400, 900);

    is($b->js(q(typeof pwned)), 'undefined', 'nothing was run');
    is($b->js(q(document.querySelectorAll('img, main script').length)), 0,
       '.. nor is there');
    $x->close;
};

subtest 'by the keyboard' => sub {
    my $id = tunnel('alice')->{id};

    find('alice');
    ok($b->until(q(document.querySelectorAll('tbody tr').length === 1)),
       'filtered');
    $b->key('ArrowDown');
    is(focused(), 'alice', 'a row');
    is($b->js(q(document.activeElement.matches(':focus-visible'))), 1,
       '.. is seen to have the focus');

    $b->key('Tab');
    is(focused(), 'Drain…', 'what may be done');
    $b->key('Enter');
    ok($b->until(q(document.querySelector('dialog').open)), 'is asked for');
    $b->key('Escape');
    is(focused(), 'Drain…', 'and may be left');

    $b->key('Enter');
    is(focused(), 'Cancel', 'what has the focus does nothing');
    $b->key('Tab');
    $b->key('Enter');
    ok(wait_for(sub { tunnel('alice')->{state} eq 'draining' }), 'drained');
    ok(shows('draining'), '.. and shown');

    ok($b->until(q(document.activeElement.textContent === 'Resume…')),
       'the focus is where it was');
    press();
    ok(wait_for(sub { tunnel('alice')->{state} eq 'connected' }), 'resumed');

    ok($b->until(q(document.activeElement.textContent === 'Drain…')),
       'it is shown');
    $b->key('Tab');
    is(focused(), 'Kick…', 'kick');
    $b->key('Enter');
    $b->js(q(document.querySelector('#for').focus()));
    $b->type('soon');
    $b->key('Enter');
    ok(shows('"soon" is no time'), 'for a time only');
    is(tunnel('alice')->{id}, $id, '.. and nothing is done');

    $b->js(q(document.querySelector('#for').select()));
    $b->type('10m');
    $b->key('Enter');
    ok($b->until(q(!document.querySelector('dialog').open)), 'kicked');
    ok(shows('The tunnel of alice has ended.'), '.. it says');
    is(api("tunnels/$id")->{state}, 'kept_out', '.. and kept out');
    is(sysread($c, my $in, 1) // 'reset', 'reset', 'its connection is cut');
    ok($b->until(q(!document.querySelector('tbody tr'))),
       'it is there no more');
    is($b->js('document.activeElement.id'), 'filter', 'the focus is not lost');
    $b->key('Escape');
    ok($b->until(q(document.querySelector('tbody tr'))), '.. others are');

    $b->js(q(location.hash = '#gone'));
    ok(shows('kept out'), 'but here');
    $b->js(q(document.querySelector('tbody .acts button').focus()));
    is(focused(), 'Let in…', 'it may be let in');
    press();
    ok(wait_for(sub { api("tunnels/$id")->{state} eq 'gone' }), 'let in');
};

$agent->stop;
$agent = $t->agent(token => $alice, services => [ "web:$echo->{port}" ]);

subtest 'an access session' => sub {
    my $v = visitor($t, $bob);
    opened($v, 'web', ttl => 600);

    $b->js(q(location.hash = '#access'));
    ok($b->until(q(document.querySelector('tbody .acts button'))), 'is shown');
    $b->js(q(document.querySelector('tbody .acts button').focus()));
    press();
    ok($v->expect('AccessClose'), 'ended');
    ok(shows('There are no access sessions.'), '.. and shown');
    $v->close;
};

subtest 'dark' => sub {
    my $light = q(getComputedStyle(document.body).backgroundColor
                  .match(/\d+/g).reduce((a, b) => a + Number(b), 0));

    cmp_ok($b->js($light), '>', 700, 'it is light');
    $b->look(1400, 900, 'dark');
    cmp_ok($b->js($light), '<', 150, 'dark where that is preferred');
    $b->look(1400, 900);
};

subtest 'nginx is away' => sub {
    $b->js(q(location.hash = '#tunnels'));
    ok(shows('alice'), 'it is there');

    $t->{nginx}->stop('TERM');
    ok(shows('nginx does not answer. What is shown is older.'), 'so it says');
    ok($b->until(q(/Next try in \d+ s/.test(document.body.innerText))),
       '.. and tries again');
    ok(shows('alice'), 'what was there still is');

    $t->start;
    ok($b->until(q(document.querySelector('#lost').hidden), 60),
       'it is back by itself');
    ok($b->until(q(/alice\s*connected/.test(document.querySelector('main')
                   .innerText)), 60), '.. and so is the tunnel');
};

subtest 'many tunnels' => sub {
    my $asked = q(performance.getEntriesByType('resource').length);

    # while nobody looks; the browser counts no more than some hundreds

    $b->js(q(performance.clearResourceTimings();
             Object.defineProperty(document, 'hidden', { value: true,
                                                         configurable: true });
             document.dispatchEvent(new Event('visibilitychange'))));

    # what it had asked for before comes to its end

    my ($before, $still) = (-1, 0);
    ok(wait_for(sub {
        my $now = $b->js($asked);
        ($before, $still) = ($now, time) if $now != $before;
        return time - $still > slowdown();
    }), 'nobody looks');
    my $since = time;

    my @x = map {
        my $x = ZLTunnel::Wire->agent($t, $many);
        $x->send(join '', map { ZLTunnel::Wire::ws_frame(
            register("s$_", ext => ext(1 => "\1"))) } 1 .. $SERVICES);
        $x;
    } 1 .. $TUNNELS;

    ok(wait_for(sub { api('zone')->{tunnels} > $TUNNELS },
                60), 'tunnels');
    note sprintf '%.1f s', time - $since;
    ok($b->until('true', 10, sub { time - $since > 3 }), 'some time');
    is($b->js($asked), $before, 'a page that is hidden asks for nothing');

    $b->js(q(delete document.hidden;
             document.dispatchEvent(new Event('visibilitychange'))));
    ok(shows(' of 2,001'), 'all of them');
    is($b->js(q(document.querySelectorAll('tbody tr').length)), 50,
       'some at a time');

    $b->js(q([...document.querySelectorAll('.page button')].pop().click()));
    ok(shows('51–100 of 2,001'), 'the next ones');
    find('alice');
    ok(shows('1–1 of 1, 2,001 in all'), 'one is found');
    is($b->js(q(document.querySelectorAll('tbody tr').length)), 1, '.. alone');
    $b->key('Escape');

    $b->js(q(location.hash = '#services'));
    ok($b->until(q(/1–50 of 20,001/.test(document.body.innerText)), 60),
       'their services');

    $_->close for @x;
};

subtest 'a script that is not its own' => sub {
    write_file("$t->{dir}/pages/injected.html",
               $page =~ s{</body>}{<script>pwned = 1</script>
                   <b onclick="pwned = 1" id="b">b</b></body>}r, 0644);

    is_deeply([ grep { !/ERR_CONNECTION/ } @{ $b->{said} } ], [],
              'nothing was said before');
    $b->open($at =~ s/dashboard\.html/injected.html/r);
    ok(shows('alice'), 'the page works');
    $b->js(q(document.querySelector('#b').click()));
    is($b->js(q(typeof pwned)), 'undefined', 'the script does not');
    is(scalar(grep { /Content Security Policy/ } @{ $b->{said} }), 2,
       '.. as the browser says') or diag explain $b->{said};
};

subtest 'in a frame' => sub {
    write_file("$t->{dir}/pages/frame.html",
               '<iframe src="dashboard.html" id="f"></iframe>', 0644);

    $b->open($at =~ s/dashboard\.html/frame.html/r);
    ok($b->until(q(!document.querySelector('#f').contentDocument)),
       'it is not shown, as the header says');
};

subtest 'write=off, another location' => sub {
    $b->open("$at?api=/api/");
    ok(shows('alice'), 'it is found');
    ok(shows('read-only'), 'it says so');
    is($b->js(q(document.querySelectorAll('.acts button').length)), 2,
       'there is nothing to do, but in the dialog');

    # if a server did not look at names at all

    mkdir "$t->{dir}/pages/static";
    mkdir "$t->{dir}/pages/static/1";
    my %list = ('dashboard.html' => '"endpoints":[]', zone => '"ports":{}',
                services => '"services":[]',
                tunnels => '"tunnels":[{"id":"1","token":"<i>\u202eb",'
                           . '"state":"<i>","services":0,"bytes_in":0,'
                           . '"bytes_out":0}]');
    write_file("$t->{dir}/pages/static/1/$_", "{$list{$_}}", 0644)
        for keys %list;

    $b->open("$at?api=static");
    ok(shows('<i>\u202eb'), 'what turns the text would be spelt out');
    is($b->js(q(document.querySelectorAll('i').length)), 0, 'no tags');

    $b->open("$at?api=/nowhere");
    ok(shows('nginx answers 404'), 'none');
    $b->open("$at?api=//example.com/api/");
    ok(shows('?api= has to be a path on this server'), "another's");
};

$b->stop;
$t->finish;


sub pad { my ($base64) = @_; return $base64 . '=' x (-length($base64) % 4) }

sub quoted { JSON::PP->new->allow_nonref->encode($_[0]) }

# whether it comes to be shown

sub shows {
    my ($text) = @_;

    return $b->until('document.body.innerText.includes('
                     . quoted("$text") . ')', 30)
           || do { diag encode_utf8(text('body')); 0 };
}

sub text {
    my ($of) = @_;
    return $b->js("document.querySelector('$of').innerText") =~ s/\s+/ /gr;
}

sub row {
    my ($of) = @_;
    return $b->js("[...document.querySelectorAll('tbody tr')].find(tr =>
                   tr.innerText.includes('$of')).innerText") =~ s/\s+/ /gr;
}

sub tile {
    my ($of) = @_;
    return $b->js("[...document.querySelectorAll('#tiles div')].find(div =>
                   div.firstChild.textContent === '$of')
                   .children[1].textContent");
}

sub focused { $b->js('document.activeElement.textContent') }

# the button that has the focus, and then that of the dialog

sub press {
    $b->key('Enter');
    $b->until(q(document.querySelector('dialog').open));
    $b->js(q(document.querySelector('#do').focus()));
    $b->key('Enter');
    ok($b->until(q(!document.querySelector('dialog').open)), '.. done');
}

sub find {
    my ($text) = @_;

    $b->js('document.activeElement.blur()');
    $b->key('/');
    is($b->js('document.activeElement.id'), 'filter', 'the filter');
    $b->type($text);
}

sub narrow {
    my ($what) = @_;
    cmp_ok($b->js(q(Math.max(document.documentElement.scrollWidth,
               ...[...document.querySelectorAll('main *, #tiles *, nav *')]
               .map(e => Math.floor(e.getBoundingClientRect().right))))),
           '<=', 320, "$what: as wide as a phone");
}

sub api {
    my ($path) = @_;
    return JSON::PP::decode_json(http_get($t->{http_port}, "/api/1/$path")->{body});
}

sub tunnel {
    my ($token) = @_;
    return (grep { $_->{token} eq $token && $_->{state} !~ /gone|kept/ }
            @{ api('tunnels')->{tunnels} })[0] // {};
}
