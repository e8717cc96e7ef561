package ZLTunnel::Volume;

# A folder that is written as kubelet writes the volume of a Secret, a ConfigMap
# or what is projected:
#
#     FILE -> ..data/FILE
#     ..data -> ..2026_12_01_03_00_00.123456
#
# An update writes all files into a new folder, makes a link ..data_tmp to it,
# renames that over ..data, makes the links of new files and takes away those of
# files that are no more, and then removes the former folder, at once.  Whoever
# was between two of these steps finds nothing.

use strict;
use warnings;

use File::Path ();
use POSIX ();
use Time::HiRes qw(time);


# mode (0644) is that of its files; group, if given, gets them, which kubelet
# does with fsGroup.

sub new {
    my ($class, $dir, %o) = @_;

    mkdir $dir or die "$dir: $!";
    chmod 0755, $dir;

    return bless { dir => $dir, mode => 0644, %o }, $class;
}


sub path { "$_[0]{dir}/$_[1]" }


# What there is from now on: name => text.  Nothing is done if it is the same.

sub write {
    my ($self, %files) = @_;

    my $dir = $self->{dir};
    my $former = readlink "$dir/..data";
    my %old = %{ $self->{files} || {} };

    return 0 if $former && join("\0", map { ($_, $files{$_}) } sort keys %files)
                           eq join("\0", map { ($_, $old{$_}) } sort keys %old);

    my $now = time;
    my $folder = POSIX::strftime('..%Y_%m_%d_%H_%M_%S.', gmtime $now)
                 . sprintf '%06d%03d', 1e6 * ($now - int $now),
                           ++$self->{n} % 1000;

    mkdir "$dir/$folder" or die "$folder: $!";
    chmod 0755, "$dir/$folder";

    for my $name (sort keys %files) {
        my $file = "$dir/$folder/$name";

        open my $fh, '>:raw', $file or die "$file: $!";
        print $fh $files{$name};
        close $fh or die "$file: $!";
        chown 0, $self->{group}, $file if defined $self->{group};
        chmod $self->{mode}, $file;
    }

    symlink $folder, "$dir/..data_tmp" or die "..data_tmp: $!";
    rename "$dir/..data_tmp", "$dir/..data" or die "..data: $!";

    for my $name (grep { !-l "$dir/$_" } sort keys %files) {
        symlink "..data/$name", "$dir/$name" or die "$name: $!";
    }

    unlink map { "$dir/$_" } grep { !exists $files{$_} } keys %old;
    File::Path::remove_tree("$dir/$former") if $former;

    $self->{files} = \%files;

    return 1;
}


# One file changes, all others stay; undef takes it away.

sub put {
    my ($self, $name, $text) = @_;

    my %files = (%{ $self->{files} || {} }, $name => $text);

    delete $files{$name} if !defined $text;
    return $self->write(%files);
}


1;
