package ZLTunnel::Browser;

# Chromium with one page, asked by the DevTools protocol over two pipes:
#
#     my $b = ZLTunnel::Browser->start($t);        # undef: there is none
#     $b->open("http://127.0.0.1:$port/page");
#     $b->js('document.title');                    # what that is, or dies
#     $b->until('document.title === "x"');         # waits; whether it came so
#     $b->key('Tab');
#     $b->call('Emulation.setEmulatedMedia', ...);
#     $b->{said};                                  # of console, of exceptions
#     $b->stop;

use strict;
use warnings;

use Fcntl;
use JSON::PP ();
use MIME::Base64 qw(decode_base64);
use POSIX ();
use Time::HiRes qw(time);

use ZLTunnel::Proc qw(run slowdown wait_for slurp);


sub there { !(run('sh', '-c', 'command -v chromium'))[0] }


sub start {
    my ($class, $t) = @_;

    there() or return undef;

    my $dir = "$t->{dir}/browser";
    mkdir $dir;

    my $self = bless { dir => $dir, in => '', id => 0, said => [] }, $class;

    # neither end waits for the other one when it is opened to read and write

    for my $end (qw(to from)) {
        POSIX::mkfifo("$dir/$end", 0600) or die "mkfifo: $!";
        sysopen $self->{$end}, "$dir/$end", O_RDWR or die "$dir/$end: $!";
    }

    $self->{proc} = ZLTunnel::Proc->start(
        name => 'chromium', out => "$dir/out", err => "$dir/err",
        env => { HOME => $dir },
        cmd => [ 'sh', '-c', 'exec "$0" "$@" 3< "$HOME/to" 4> "$HOME/from"',
                 'chromium',
                 '--headless', '--no-sandbox', '--disable-gpu',
                 '--disable-dev-shm-usage', '--no-first-run',
                 "--user-data-dir=$dir/profile", '--remote-debugging-pipe',
                 '--window-size=1400,900', 'about:blank' ]);

    my ($page) = grep { $_->{type} eq 'page' }
                 @{ $self->call('Target.getTargets')->{targetInfos} };
    $self->{session} = $self->call('Target.attachToTarget', flatten => \1,
        targetId => $page->{targetId})->{sessionId};
    $self->call("$_.enable") for qw(Page Runtime Log);

    return $self;
}


# Sends a command, and returns what its answer has.

sub call {
    my ($self, $method, %params) = @_;

    my $id = ++$self->{id};
    my $m = { id => $id, method => $method, params => \%params };
    $m->{sessionId} = $self->{session} if $self->{session};

    syswrite $self->{to}, JSON::PP->new->utf8->encode($m) . "\0";

    my $end = time + 30 * slowdown();

    while (time < $end) {
        my $answer = $self->next($end - time) or last;

        next if ($answer->{id} // 0) != $id;
        die "$method: $answer->{error}{message}\n" if $answer->{error};
        return $answer->{result};
    }

    die "chromium does not answer $method: " . slurp("$self->{dir}/err");
}


# The next message, whatever it is; events of interest are kept.

sub next {
    my ($self, $timeout) = @_;

    my $end = time + $timeout;
    my $at;

    while (($at = index $self->{in}, "\0") < 0) {
        vec(my $rin = '', fileno $self->{from}, 1) = 1;
        return undef if time > $end;
        select($rin, undef, undef, $end - time) > 0 or return undef;
        sysread $self->{from}, $self->{in}, 1 << 20, length $self->{in};
    }

    my $m = JSON::PP::decode_json(substr $self->{in}, 0, $at);
    substr $self->{in}, 0, $at + 1, '';
    my $p = $m->{params};

    push @{ $self->{said} },
        $m->{method} eq 'Log.entryAdded' ? $p->{entry}{text}
        : $m->{method} eq 'Runtime.exceptionThrown'
          ? ($p->{exceptionDetails}{exception}{description}
             // $p->{exceptionDetails}{text})
        : join ' ', map { $_->{value} // $_->{description} // '' } @{ $p->{args} }
        if ($m->{method} // '') =~ /^(?:Log\.entryAdded|Runtime\.exceptionThrown
                                      |Runtime\.consoleAPICalled)$/x;

    return $m;
}


sub open {
    my ($self, $url) = @_;

    $self->call('Page.navigate', url => 'about:blank');
    $self->call('Page.navigate', url => $url);
    return $self->until('document.readyState === "complete"
                         && location.href !== "about:blank"');
}


sub js {
    my ($self, $expression) = @_;

    my $r = $self->call('Runtime.evaluate', expression => $expression,
                        returnByValue => \1, awaitPromise => \1);
    die $r->{exceptionDetails}{exception}{description} . "\n"
        if $r->{exceptionDetails};

    return $r->{result}{value};
}


# Between two looks it does what it is given.

sub until {
    my ($self, $expression, $timeout, $turn) = @_;

    return wait_for(sub {
        $turn->() if $turn;
        eval { $self->js($expression) };
    }, $timeout // 20);
}


# A key by its name, or a character.

sub key {
    my ($self, $key, %o) = @_;

    my %code = (Tab => 9, Enter => 13, Escape => 27, ArrowUp => 38,
                ArrowDown => 40, ' ' => 32);
    my %p = (key => $key, windowsVirtualKeyCode => $code{$key} // ord uc $key,
             modifiers => $o{shift} ? 8 : 0);
    $p{text} = $key eq 'Enter' ? "\r" : $key if length $key == 1 || $key eq 'Enter';

    $self->call('Input.dispatchKeyEvent', type => 'keyDown', %p);
    delete $p{text};
    $self->call('Input.dispatchKeyEvent', type => 'keyUp', %p);
}

sub type { my ($self, $text) = @_;
           $self->call('Input.insertText', text => $text) }


# The window's size, and "dark" or "light".

sub look {
    my ($self, $width, $height, $scheme) = @_;

    $self->call('Emulation.setDeviceMetricsOverride', width => 0 + $width,
        height => 0 + $height, deviceScaleFactor => 1,
        mobile => $width < 600 ? \1 : \0);
    $self->call('Emulation.setEmulatedMedia', features => [
        { name => 'prefers-color-scheme', value => $scheme // 'light' } ]);
}


sub shot {
    my ($self, $file) = @_;

    my $png = decode_base64($self->call('Page.captureScreenshot')->{data});

    CORE::open my $fh, '>:raw', $file or die "$file: $!";
    print $fh $png;
    close $fh;
}


sub stop {
    my ($self) = @_;

    $self->{proc}->stop('TERM');
    close $self->{$_} for qw(to from);
}


1;
