package Source;

# The two programs as they are in the tree: folders from the top floor to the
# ground, the symbols of their compiled objects, their #include lines.  What
# auto/layers and auto/figures have in common.

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(@PROGRAMS program);

# A folder may use those below it.  Those in one line are beside each other.

our @PROGRAMS = qw(module agent);

my %programs = (
    module => {
        source  => 'ngx_zltunnel_module',
        objects => 'objs/nginx-src/objs/addon',
        top     => 'ngx_zltunnel_module',
        prefix  => 'ngx_zltunnel_',
        floors  => [ 'ngx_zltunnel_module',
                     'http stream cluster',
                     'upstream udp visit control',
                     'channel', 'worker', 'registry transport', 'config',
                     'proto' ],
    },
    agent => {
        source  => 'agent',
        objects => 'objs/agent/agent',
        top     => 'agent',
        prefix  => '',
        floors  => [ 'agent', 'cmd', 'ctl', 'process', 'link',
                     'access', 'udp', 'channel', 'service', 'config',
                     'proxy', 'net', 'base', 'proto' ],
    },
);

# nginx finds the configuration of a module by these: names, not calls
my $module_symbol = qr/^ngx_(?:http_|stream_)?zltunnel_(?:upstream_)?module$/;


sub program {
    my ($name, $tree) = @_;

    return bless { name => $name, tree => $tree, %{ $programs{$name} } };
}


sub folders {
    my ($self) = @_;

    return map { split } @{ $self->{floors} };
}


# [ path, "folder/file" ] of each object that has a source

sub objects {
    my ($self) = @_;

    my $dir = "$self->{tree}/$self->{objects}";
    my @objects;

    for my $path (glob "$dir/*.o $dir/*/*.o") {
        my ($folder, $file) = $path =~ m{^\Q$dir\E/(?:([^/]+)/)?([^/]+)\.o$};

        $folder //= $self->{top};

        # one whose source has gone is of an older build
        push @objects, [ $path, "$folder/$file" ]
            if -f $self->path("$folder/$file.c");
    }

    die "no objects below $dir: make comes first\n" if !@objects;

    return @objects;
}


# where "folder/file.c" is

sub path {
    my ($self, $file) = @_;

    $file =~ s{^\Q$self->{top}\E/}{};

    return "$self->{tree}/$self->{source}/$file";
}


# "folder/file.c" and "folder/file.h", all of them

sub files {
    my ($self) = @_;

    my $root = "$self->{tree}/$self->{source}";

    return map { m{^\Q$root\E/([^/]+)$} ? "$self->{top}/$1"
                                        : s{^\Q$root\E/}{}r }
           glob "$root/*.[ch] $root/*/*.[ch]";
}


sub text {
    my ($self, $file) = @_;

    open my $fh, '<', $self->path($file) or die "$file: $!\n";
    local $/ = undef;
    my $text = <$fh>;
    close $fh;

    return $text;
}


# { "folder/file" => { "folder/other" => [ symbols ] } }, and the exported
# functions of each file

sub uses {
    my ($self) = @_;

    my (%defined_in, %wanted, %exported);

    for my $object ($self->objects) {
        my ($path, $file) = @$object;

        $exported{$file} //= [];

        open my $nm, '-|', 'nm', '-P', $path or die "nm: $!\n";

        while (my $line = <$nm>) {
            my ($symbol, $type) = split ' ', $line;

            if ($type =~ /^[TDBRCVW]$/) {
                $defined_in{$symbol} = $file;
                push @{ $exported{$file} }, $symbol if $type eq 'T';

            } elsif ($type eq 'U') {
                push @{ $wanted{$file} }, $symbol;
            }
        }

        close $nm or die "nm failed for $path\n";
    }

    my %uses;

    for my $file (keys %wanted) {
        for my $symbol (sort @{ $wanted{$file} }) {
            my $other = $defined_in{$symbol};

            push @{ $uses{$file}{$other} }, $symbol
                if defined $other && $other ne $file
                   && $symbol !~ $module_symbol;
        }
    }

    return (\%uses, \%exported);
}


# { "folder/file.h" => [ "folder/other.h" ] }, of the tree's own headers

sub includes {
    my ($self) = @_;

    my (%home, %includes);

    for my $file ($self->files) {
        my ($base) = $file =~ m{([^/]+\.h)$} or next;
        $home{$base} = $file;
    }

    for my $file ($self->files) {
        $includes{$file} = [
            map { $home{$_} // () }
                $self->text($file) =~ /^\s*#\s*include\s+"([^"]+)"/mg
        ];
    }

    return \%includes;
}


1;
