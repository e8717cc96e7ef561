package Agent;

# What the built agent says of itself: its commands with their options, from
# the help, and its keys, from "zltunnel-agent keys".  For auto/manual and
# auto/completion.

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(commands keys_of key_rows version);

my $program = $ENV{AGENT} || 'objs/zltunnel-agent';


sub said {
    my (@words) = @_;

    local $ENV{LC_ALL} = 'C';
    open my $fh, '-|', $program, @words or die "$program: $!\n";
    local $/ = undef;
    my $text = <$fh>;
    close $fh or die "$program @words: it failed\n";

    return $text;
}


sub version { (split ' ', said('--version'))[1] }


# In the order of the help, a hash for each command: name, summary, usage, what
# stands below ("text"), and options, each a hash of name, arg, help; an
# argument that is told among them has a name without "--".

sub commands {
    my ($list) = said('--help') =~ /^Commands:\n(.*?)^$/ms;

    return map { command(/^  (\S+) +(.*)$/) } split /\n/, $list;
}


sub command {
    my ($name, $summary) = @_;

    my $help = said($name, '--help');
    my ($usage, $rest) = $help =~ /^Usage: zltunnel-agent (.*?)\n\n(.*)/s;
    my %c = (name => $name, summary => $summary, usage => $usage,
             options => [], text => '');
    my $last;

    for my $line (split /\n/, $rest) {

        if ($line =~ /^  ([^-\s]\S*) {2,}(\S.*)$/) {
            # no option, but an argument
            $last = { name => $1, arg => '', help => $2 };
            push @{ $c{options} }, $last;

        } elsif ($line =~ /^  (-.*)$/) {
            $last = undef;
            my ($option, $text) = split /\s{2,}/, $1, 2;

            # "--help, --version", "--cert FILE, --key FILE"
            for my $one (split /, (?=-)/, $option) {
                my ($long, $arg) = $one =~ /^(-\S+)(?: (.*))?$/;
                $last = { name => $long, arg => $arg // '',
                          help => $text // '' };
                push @{ $c{options} }, $last;
            }

        } elsif ($last && $line =~ /^ {20,}(\S.*)$/) {
            $last->{help} .= ($last->{help} eq '' ? '' : ' ') . $1;

        } else {
            $last = undef;
            $c{text} .= "$line\n";
        }
    }

    $_->{help} ||= 'shows ' . $_->{name} =~ s/^--//r
        for grep { $_->{name} =~ /^--(?:help|version)$/ } @{ $c{options} };

    return \%c;
}


# The rows of the table, in its order.

sub key_rows {
    my @names = qw(section key commands env arg form choices bounds default
                   without many effect help);

    return map {
        my %row;
        @row{@names} = split /\t/;
        \%row;
    } split /\n/, said('keys');
}


# The rows by option, "--mode".

sub keys_of {
    return map { ('--' . $_->{key} =~ tr/_/-/r => $_) }
           grep { $_->{section} eq '[agent]' } key_rows();
}


1;
