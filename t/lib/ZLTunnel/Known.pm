package ZLTunnel::Known;

# What the agent knows: the keys of its configuration, by its own table; the
# suffixes of a service and the requests of its control socket, read from the
# functions that take them, wherever in agent/ these are.

use strict;
use warnings;

use Exporter 'import';
use File::Find ();
use ZLTunnel::Proc qw(run slurp);

our @EXPORT = qw(agent_source key_table known_keys known_options
                 known_suffixes known_requests);

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


# The table of keys, as the agent prints it: a hash for each line.

sub key_table {
    my @names = qw(section key commands env arg form choices bounds default
                   without many effect help);
    my ($rc, $out) = run($ZLTunnel::AGENT, 'keys');

    die "the agent's \"keys\": $out" if $rc != 0;

    return map {
        my %row;
        @row{@names} = split /\t/;
        $row{section} =~ tr/[]//d;
        \%row;
    } split /\n/, $out;
}


# By section, "agent", "service NAME" and so on: the keys that it knows by
# itself.  A "*" among them stands for those of "agent", and those are named
# that a tunnel refuses since they are for all.

sub known_keys {
    my %keys;
    my @table = key_table();
    my %agent = map { $_->{key} => 1 } grep { $_->{section} eq 'agent' } @table;

    for my $row (@table) {
        my ($section, $key) = @$row{qw(section key)};

        push @{ $keys{$section} }, $key
            if $section ne 'tunnel NAME' || !$agent{$key};
        delete $agent{$key} if $section eq 'tunnel NAME';
    }

    push @{ $keys{'tunnel NAME'} }, '*', keys %agent;

    return { map { $_ => [ sort @{ $keys{$_} } ] } keys %keys };
}


# Long options of all commands, without "--".

sub known_options {
    my $all = agent_source();

    return map { tr/_/-/r }
           $all =~ /\{ "([a-z][\w-]*)", +\w+_argument/g,
           $all =~ /^    \{ "([a-z][\w-]*)", '\w', /mg,
           map { $_->{commands} ? $_->{key} : () } key_table();
}


# "/udp" and so on.

sub known_suffixes {
    my $body = function('zlt_option_service_suffixes');
    my @suffixes = $body =~ /strcmp\(slash, "(\/\w+)"\)/g;

    for my $prefix ($body =~ /strncmp\(slash, "(\/[\w-]+)"/g) {
        push @suffixes, map { "$prefix$_" } grep { $_ ne 'no' }
            function('zlt_option_service_pp') =~ /strcmp\(text, "(\w+)"\)/g;
    }

    @suffixes = sort @suffixes;
    return @suffixes;
}


sub known_requests {
    my @sorted = sort(table('zlt_ctl_commands') =~ /^    \{ "(\w+)"/mg);
    return @sorted;
}


1;
