package ZLTunnel::Commands;

# What a document says to type, wherever it says so:
#
#     my ($blocks, @commands) = commands($text);
#
# $blocks is a list of [ section, title, text ]: the blocks ```sh, and under which
# headings they stand, of the second level and of any.  The others are lines of
# indented blocks, continued ones joined, and what is in backquotes within
# sentences.
#
# A command begins with a program that is on this machine or in the list below, or
# with a command of the agent's.  It has a blank, or is a program that is typed
# alone.  A message, in the column of that name, is no command; nor are a synopsis,
# a picture, an assignment, and what nginx's configuration has.

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw(commands);

my $others = qr/(?:make|nginx|zltunnel-agent|systemctl|journalctl|apt-get|dnf
                  |rpm|docker|semanage|restorecon|ausearch|setsebool|ufw|nft
                  |firewall-cmd|psql|redis-cli|jq|gdb|haproxy
                  |cd|export|kill|ulimit|umask)/x;
my $alone = qr/(?:make|timedatectl)/;
my $agents = qr/(?:connect|run|check|access|token|init|status|start|stop
                  |reload|sessions|renew|help)/x;

my %there;


sub commands {
    my ($text) = @_;

    my ($section, $title, @blocks, @found) = ('', '');

    $text =~ s/^(\| message \|.*\n\|[-|]+\n)((?:\|.*\n)+)/$1 . unsaid($2)/gme;

    while ($text =~ /^```(\w*)\n(.*?)^```$
                     |^(\#\#+)\ ([^\n]*)$
                     |(?<=\n\n)((?:\ {4}[^\n]*\n)+)
                     |`([^`]+)`/msgx)
    {
        my ($kind, $block, $level, $heading, $indented, $said)
            = ($1, $2, $3, $4, $5, $6);

        if (defined $level) {
            $section = $heading if $level eq '##';
            $title = $heading;

        } elsif (defined $kind) {
            push @blocks, [ $section, $title, $block ] if $kind eq 'sh';

        } else {
            push @found, grep { is_command($_) }
                         defined $said ? $said =~ s/\s+/ /gr : lines($indented);
        }
    }

    return (\@blocks, @found);
}


# Rows of a table, without their first column.

sub unsaid { return $_[0] =~ s/^\| .*? \| /| /gmr }


sub lines {
    my ($block) = @_;

    $block =~ s/\\\n\s+//g;

    # what is said of it stands behind it
    return map { s/ +#.*| {3,}.*//r } $block =~ /^ {4}(?:\$ )?(\S.*)$/mg;
}


sub is_command {
    my ($said) = @_;

    return 1 if $said =~ /^$alone$/;
    return 0 if $said !~ /^(?:[A-Z_]+=\S+ )*(\S+) \S/;

    my $program = $1;

    return 0 if $said =~ /[;{:,]$|^\S+ =|\[|, | \(|-->|\S {2,}|\w\|\w/;
    return 1 if $program =~ /^(?:$others|$agents)$/;
    return 1 if $program =~ m{^(?:\.|t|auto|bench)/[\w./-]+$};
    return $program =~ /^[a-z][a-z0-9.+-]*$/ && there($program);
}


sub there {
    my ($program) = @_;

    return $there{$program} //= grep { -x "$_/$program" }
                                qw(/usr/bin /usr/sbin /bin /sbin);
}


1;
