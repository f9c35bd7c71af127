# Runs the program of a build step and, for each of its maintainer scripts that asks debconf, the image's own frontend
# in a fork of this process: loading Perl's modules takes longer than all that frontends do.
use strict;
use warnings;
use POSIX ();

pipe(my $asked,    my $ask)    or die "pipe: $!";
pipe(my $answered, my $answer) or die "pipe: $!";

my $step = fork // die "fork: $!";
if ($step == 0) {
    close $asked;
    close $answer;
    POSIX::dup2(fileno $ask,      8) // die "dup2: $!";
    POSIX::dup2(fileno $answered, 9) // die "dup2: $!";
    my $status = system '/bin/sh', '/run/cooper/step', 'inner';
    syswrite $ask, "end\n";
    POSIX::_exit($status & 127 ? 128 + ($status & 127) : $status >> 8);
}
close $answered;
for my $module (qw(Db Template AutoSelect Log ConfModule DbDriver::Stack DbDriver::File Format::822
    FrontEnd::Noninteractive)) {
    eval "require Debconf::$module";    # whatever is missing, the frontend itself tells
}

sub field {
    my $line = <$asked> // POSIX::_exit(100);
    chomp $line;
    return $line;
}

while ((my $count = field()) ne 'end') {
    my ($folder, $package, $architecture, $script, @arguments) = map { field() } 1 .. 4 + $count;
    my $frontend = fork // die "fork: $!";
    if ($frontend == 0) {
        close $asked;
        close $ask;
        close $answer;
        chdir $folder or die "$folder: $!";
        open STDIN, '<', '/dev/null' or die "/dev/null: $!";
        @ENV{qw(DPKG_MAINTSCRIPT_PACKAGE DPKG_MAINTSCRIPT_ARCH DPKG_MAINTSCRIPT_NAME PERL_DL_NONLAZY)} =
            ($package, $architecture, $script, 1);
        @ARGV = @arguments;
        $0 = '/usr/share/debconf/frontend';
        do '/run/cooper/shipped/debconf-frontend';
        die $@ || $!;
    }
    waitpid $frontend, 0;
    syswrite $answer, ($? & 127 ? 128 + ($? & 127) : $? >> 8) . "\n";
}
close $ask;
waitpid $step, 0;
POSIX::_exit($? >> 8);
