#!/usr/bin/perl

# Protects: the registry's lock.  A function that takes it gives it back, on
# each way out, and calls nothing meanwhile that waits, logs, or sends.  The
# check itself is seen to find what it is for.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use ZLTunnel;

# what may wait, tell somebody, or call back
my $never = qr/\b(?:ngx_log_error|ngx_log_debug\d|ngx_zltunnel_ipc_\w+
               |ngx_zltunnel_log_(?:complain|paced)|ngx_close_connection
               |ngx_zltunnel_end_\w+|ngx_zltunnel_connection_\w+
               |ngx_zltunnel_control_write|ngx_zltunnel_control_end)\(/x;

my $functions = 0;

for my $file (glob "$ZLTunnel::ROOT/ngx_zltunnel_module/*/*.c") {
    my ($name) = $file =~ m{([^/]+/[^/]+)$};

    for my $fault (faults(slurp($file))) {
        fail("$name: $fault");
    }
}

cmp_ok($functions, '>', 30, 'functions that take the lock');

is_deeply([ faults(function('lock; unlock;')) ], [], 'lock, unlock');
is_deeply([ faults(function('lock; if (x) { unlock; return; } unlock;')) ],
          [], '.. on both ways');
like(join("\n", faults(function('lock; x();'))), qr/keeps the lock/,
     'a lock that is kept is found');
like(join("\n", faults(function('unlock;'))), qr/unlocks what another/,
     '.. one that is given back for another');
like(join("\n", faults(function('lock; if (x) { return; } unlock;'))),
     qr/returns with the lock/, '.. a way out with it');
like(join("\n", faults(function('lock; ngx_log_error(x); unlock;'))),
     qr/calls ngx_log_error/, '.. a log line under it');

done_testing();


# What is wrong in each function of a file.  The text is followed from the top:
# a branch that gives the lock back and returns leaves it taken for what is
# behind the branch.

sub faults {
    my ($text) = @_;

    my @faults;

    $text =~ s{/\*.*?\*/}{}gs;

    while ($text =~ /^(\w+)\([^;{]*\)\n\{\n(.*?)^\}/gms) {
        my ($name, $body) = ($1, $2);

        next if $body !~ /_zone_(?:un)?lock/ || $name =~ /_zone_(?:un)?lock/;

        $functions++;
        push @faults, map { "$name $_" } follow($body);
    }

    return @faults;
}


sub follow {
    my ($body) = @_;

    my @faults;
    my $held = 0;
    my @before;                          # at each open brace

    while ($body =~ /(_zone_lock(?:_read)?\()|(_zone_unlock\()|(\breturn\b)
                     |(\{)|(\})|($never)/gx)
    {
        if ($1) {
            $held = 1;

        } elsif ($2) {
            push @faults, 'unlocks what another has locked' if !$held;
            $held = 0;

        } elsif ($3) {
            push @faults, 'returns with the lock' if $held;
            $before[-1]{left} = 1 if @before;

        } elsif ($4) {
            push @before, { held => $held };

        } elsif ($5) {
            my $block = pop @before or next;
            $held = $block->{held} if $block->{left};

        } elsif ($held) {
            push @faults, "calls $6 under the lock" =~ s/\(//r;
        }
    }

    push @faults, 'keeps the lock' if $held;

    return @faults;
}


sub function {
    my ($body) = @_;

    $body =~ s/\block;/ngx_zltunnel_zone_lock(r);/g;
    $body =~ s/\bunlock;/ngx_zltunnel_zone_unlock(r);/g;

    return "void\nfunction(void)\n{\n    $body\n}\n";
}
