# What `update-ca-certificates` does with the certificates of packages, in one process instead of some
# eight hundred: a link for each certificate, the bundle, then the links by subject hash.
use strict;
use warnings;

my $conf  = '/etc/ca-certificates.conf';
my $certs = '/usr/share/ca-certificates';
my $out   = '/etc/ssl/certs';

my $bundle = '';
open(my $list, '<', $conf) or die "$conf: $!";
while (my $line = <$list>) {
    chomp $line;
    next if $line eq '' or $line =~ /^[#!]/;
    my $path = "$certs/$line";
    my $file;
    unless (open($file, '<:raw', $path)) {
        print STDERR "W: $path not found, but listed in $conf.\n";
        next;
    }
    my $text = do { local $/; <$file> };
    $text .= "\n" if $text ne '' and substr($text, -1) ne "\n";
    $bundle .= $text;
    (my $name = $line) =~ s{.*/}{};
    $name =~ s/\.crt$//;
    $name =~ s/[ ,]/_/g;
    $name =~ s/[()]/=/g;
    unlink "$out/$name.pem";
    symlink($path, "$out/$name.pem") or die "$out/$name.pem: $!";
}

my $new = "$out/ca-certificates.crt.new";
open(my $file, '>:raw', $new) or die "$new: $!";
print $file $bundle;
close $file or die "$new: $!";
chmod 0644, $new;
rename $new, "$out/ca-certificates.crt" or die "$new: $!";

chdir $out or die "$out: $!";
system('openssl rehash . >/dev/null 2>&1') == 0 or die "openssl rehash: $?";
