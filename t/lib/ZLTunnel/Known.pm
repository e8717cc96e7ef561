package ZLTunnel::Known;

# What the agent's source knows: the keys of its configuration, the suffixes of
# a service, the requests of its control socket.  Read from the tables and the
# functions that take them, wherever in agent/ these are.

use strict;
use warnings;

use Exporter 'import';
use File::Find ();
use ZLTunnel::Proc qw(slurp);

our @EXPORT = qw(agent_source known_keys known_suffixes known_requests);

my ($source, %file);


# All of the agent's C, or a hash of it by file.

sub agent_source {
    if (!$source) {
        File::Find::find({ no_chdir => 1, wanted => sub {
            $file{$_} = slurp($_) if /\.c$/;
        } }, "$ZLTunnel::ROOT/agent");

        $source = join '', map { $file{$_} } sort keys %file;
    }

    return wantarray ? %file : $source;
}


sub function {
    my ($name) = @_;

    scalar(agent_source()) =~ /^\Q$name\E\([^;]*?\)\n\{\n(.*?)^\}/ms
        or die "there is no function $name";
    return $1;
}


sub table {
    my ($name) = @_;

    scalar(agent_source()) =~ /\b\Q$name\E\[\] = \{(.*?)^\};/ms
        or die "there is no table $name";
    return $1;
}


# By section, "agent", "service NAME" and so on: the keys that it knows by
# itself; a "*" among them stands for those of "agent".

sub known_keys {
    my %keys;
    my $sections = table('zlt_conf_sections');

    while ($sections =~ /\{ "(\w+)",\s+([01]),\s+\w+,\s+(\w+),\s+\w+ \}/g) {
        my ($name, $named, $func) = ($1, $2, $3);
        my $body = function($func);
        my @keys = $body =~ /strcmp\(key, "(\w+)"\)/g;

        if ($body =~ /zlt_conf_set\(/) {
            push @keys, $name eq 'agent'
                        ? table('zlt_conf_keys') =~ /^    \{ "(\w+)"/mg : '*';
        }

        $keys{ $named ? "$name NAME" : $name } = [ sort @keys ];
    }

    return \%keys;
}


# "/udp" and so on.

sub known_suffixes {
    my $body = function('zlt_option_suffixes');
    my @suffixes = $body =~ /strcmp\(slash, "(\/\w+)"\)/g;

    for my $prefix ($body =~ /strncmp\(slash, "(\/[\w-]+)"/g) {
        push @suffixes, map { "$prefix$_" } grep { $_ ne 'no' }
            function('zlt_option_proxy') =~ /strcmp\(text, "(\w+)"\)/g;
    }

    return sort @suffixes;
}


sub known_requests {
    return sort(table('zlt_ctl_commands') =~ /^    \{ "(\w+)"/mg);
}


1;
