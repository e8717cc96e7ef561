#!/usr/bin/perl

# Protects: what is installed is hardened as far as the compiler can do that, the
# agent and the module: a canary in frames, probes of a stack that grows, marks
# for indirect branches, checked calls of libc, a place in memory that nobody
# knows, relocations that are read-only, and no stack that is executed.  A
# compiler that lacks something is not asked for it.

use strict;
use warnings;

use Cwd ();
use File::Temp ();
use Test::More;

my $root = Cwd::abs_path(__FILE__ =~ s{/[^/]*$}{/../..}r);
chdir $root or die;

# those of the tests themselves, a sanitizer's or of another compiler
plan(skip_all => 'another build is tested')
    if grep { defined $ENV{$_} } qw(TEST_ZLT_AGENT TEST_ZLT_MODULE);

my $cc = $ENV{CC} || 'cc';
my $machine = qx($cc -dumpmachine);
my $compilers = 0;
my $dir = File::Temp::tempdir('zltunnel-t-XXXXXX', TMPDIR => 1, CLEANUP => 1);

subtest 'what a compiler is asked for' => \&asked;
subtest 'the agent' => sub { hardened('objs/zltunnel-agent', 1) };
subtest 'the module' => sub { hardened('objs/ngx_zltunnel_module.so', 0) };

done_testing();


sub harden { my $all = join ' ', @_; return scalar qx(auto/harden $all) }


sub asked {
    my $all = harden($cc, '-O2');

    like($all, qr/-fstack-protector-strong\b/, 'a canary');
    like($all, qr/-D_FORTIFY_SOURCE=[23]\b/, 'checked calls');
    unlike(harden($cc, '-O0'), qr/FORTIFY/, 'not without optimization');
    unlike(harden($cc, '-O2', '-fsanitize=address'), qr/FORTIFY/,
           'nor with sanitizers');

    # compilers that lack one: they say so by their status, or with a warning

    for my $option (qw(-fstack-clash-protection -fcf-protection
                       -mbranch-protection=standard)) {
        my $poor = compiler(<<"EOT");
case " \$* " in *" $option "*) echo "unknown option" >&2; exit 1;; esac
exec $cc "\$@"
EOT
        my $less = harden($poor, '-O2');

        unlike($less, qr/\Q$option\E/, "a compiler without $option");
        like($less, qr/-fstack-protector-strong\b/, '.. has what else it can');
    }

    my $older = compiler(<<"EOT");
case " \$* " in *" -D_FORTIFY_SOURCE=3 "*) exit 1;; esac
exec $cc "\$@"
EOT
    like(harden($older, '-O2'), qr/FORTIFY_SOURCE=2\b/,
         'an older one has level 2');

    my $none = compiler("exit 1\n");
    is(harden($none, '-O2'), "\n", 'one that can nothing is asked for nothing');
}


sub compiler {
    my ($text) = @_;

    my $path = "$dir/cc" . ++$compilers;
    open my $fh, '>', $path or die "$path: $!";
    print $fh "#!/bin/sh\n$text";
    close $fh;
    chmod 0755, $path;

    return $path;
}


sub hardened {
    my ($file, $program) = @_;

    my $elf = qx(readelf -hldW $file);
    my $symbols = qx(nm -D $file);
    my $options = harden($cc, '-O2');

    like($elf, qr/^\s*Type:\s+DYN/m, 'it is somewhere else each time');
    like($elf, qr/\(FLAGS_1\).*\bPIE\b/, 'a program, too') if $program;
    like($elf, qr/^\s*GNU_RELRO\b/m, 'relocations are read-only');
    like($elf, qr/\bNOW\b/, '.. all of them');
    like($elf, qr/^\s*GNU_STACK\s.*\bRW\s/m, 'the stack is not executed');

    like($symbols, qr/\b__stack_chk_fail\b/, 'a canary');
    like($symbols, qr/\b__\w+_chk\b/, 'checked calls') if $options =~ /FORTIFY/;

    # what gcc writes down of its command

    SKIP: {
        my $built = qx(readelf --debug-dump=info $file 2> $dir/err);

        my @units = grep { /GNU C/ } $built =~ /DW_AT_producer\s*:\s*(.*)/g;
        skip('the compiler does not tell', 1) if !@units;

        for my $option ($options =~ /(-f\S+)/g) {
            is(scalar(grep { !/\Q$option\E/ } @units), 0,
               'all of ' . @units . " parts have $option");
        }
    }
}
