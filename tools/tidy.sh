#!/bin/sh
# tidy.sh - keeps layers, lengths, words and calls honest without argument.
#
#	tools/tidy.sh [FILE...]
#
# Prints "file:line: what" for each finding and exits 1; says how many files
# it read and exits 0 when there is none.  Needs only Debian's perl-base.
# The layer table is the Makefile's own.
cd "$(dirname "$0")/.." || exit 2
exec perl - "$@" <<'PERL'
use strict;
use warnings;

my $function_lines_max = 70;
my $file_lines_max = 600;
my $columns_max = 100;

# Calls that have no place in a source file, or only in those named here.
# [ pattern of the call, where it is allowed, what to do instead ]
my $in_tests = qr{^tests/};
my @banned_calls = (
	[ qr/strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atof/, undef,
	  'has no bound or no error: use snprintf, memcpy, strtoll, struct buffer' ],
	[ qr/malloc|calloc|realloc|free|strdup|strndup|asprintf|vasprintf/,
	  qr{^dataplane/base/memory\.c$}, 'goes around dataplane/base/memory.h' ],
	[ qr/clock_gettime|gettimeofday|time/, qr{^dataplane/base/clock\.c$},
	  'goes around dataplane/base/clock.h' ],
	[ qr/rand|srand|random|srandom|drand48/, undef, 'goes around dataplane/base/random.h' ],
	[ qr/exit/, qr{^(tools/|tests/|dataplane/base/options)},
	  'ends the process from inside a library: return an error' ],
	[ qr/printf|puts|putchar|fprintf(?=\s*\(\s*std(?:out|err)\b)/,
	  qr{^(tools/|tests/|dataplane/base/(options|log))},
	  'prints from inside a library: use log.h or return text' ],
);

# What others allocate with malloc() has to be given to free(): a source that
# calls one of these may.
my $allocates_for_us = qr/\b(json_dumps|open_memstream|getline|getdelim|realpath)\s*\(/;

# Sources whose test stands under another name.  [ source, test, reason ]
my @tested_elsewhere = (
	[ qr{^(.*)_(?:avx2|avx512)\.c$}, '$1',
	  'one instruction set of a kernel: its table of paths is tested as one' ],
);

# Words that mark unfinished work, and paths of a workplace.  Written in
# pieces, so that this file does not find itself.
my @banned_words = (
	[ qr/\b(TO\x44O|FIX\x4dE|X\x58X|HA\x43K)\b/, 'marks unfinished work' ],
	[ qr/\bplace\x68older\b/i, 'marks unfinished work' ],
	[ qr/\bfor \x6eow\b/i, 'marks unfinished work' ],
	[ qr/\bst\x75bs?\b/i, 'marks unfinished work' ],
	[ qr{(?<![\w.])/wo\x72k/}, 'is a path of one workplace' ],
);

my @findings;
my %uses;
my @layers;

sub finding {
	my ($file, $line, $what) = @_;
	push @findings, [ $file, $line, $what ];
}

sub slurp {
	my ($file) = @_;
	local $/;
	open my $in, '<', $file or die "tidy: cannot read $file: $!\n";
	my $text = <$in>;
	return defined $text ? $text : '';
}

sub folder {
	my ($path) = @_;
	return $path =~ m{^(.*)/[^/]*$} ? $1 : '.';
}

sub read_layers {
	for my $line (split /\n/, slurp('Makefile')) {
		$uses{$1} = { map { $_ => 1 } split ' ', $2 } if $line =~ /^USES_(\S+)\s*:=(.*)$/;
		@layers = split ' ', $1 if $line =~ /^LAYERS\s*:=(.*)$/;
	}
	die "tidy: the Makefile has no LAYERS table\n" unless @layers;
	for my $layer (@layers) {
		finding('Makefile', 1, "LAYERS names $layer, but there is no USES_$layer")
			unless $uses{$layer};
	}
}

sub list_files {
	my @found;
	my @folders = ('.');

	while (defined(my $dir = shift @folders)) {
		opendir my $handle, $dir or die "tidy: cannot list $dir: $!\n";
		for my $name (sort readdir $handle) {
			my $path = $dir eq '.' ? $name : "$dir/$name";

			next if $name =~ /^(\.\.?|\.git|__pycache__)$/;
			next if $path =~ m{^(build|tests/data)$};
			if (-d $path && !-l $path) {
				push @folders, $path;
			} elsif ($name =~ /\.(c|h|cu|cuh|sh|py|md)$/ || $name eq 'Makefile') {
				push @found, $path;
			}
		}
		closedir $handle;
	}
	return @found;
}

# Comments and what stands between quotes become blanks; lines stay lines.
sub code_only {
	my ($text) = @_;

	$text =~ s{
		( /\*.*?\*/ | //[^\n]* | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' )
	}{
		my $gone = $1;
		my $quote = $gone =~ /^(["'])/ ? $1 : '';
		$gone =~ s/[^\n]/ /g;
		$quote ? $quote . substr($gone, 1, length($gone) - 2) . $quote : $gone;
	}gsex;
	return $text;
}

sub check_lines {
	my ($file, $text, $lines, $is_code) = @_;
	my @words = grep { $text =~ $_->[0] } @banned_words;

	for my $i (0 .. $#$lines) {
		my $line = $lines->[$i];
		my $columns = 0;

		finding($file, $i + 1, 'trailing white space') if $line =~ /[ \t\r]$/;
		for my $rule (@words) {
			finding($file, $i + 1, "'$1' $rule->[1]") if $line =~ /($rule->[0])/;
		}
		next if !$is_code || length($line) + 7 * ($line =~ tr/\t//) <= $columns_max;
		$line =~ s/[\x80-\xbf]//g;     # all but the first byte of a UTF-8 character
		1 while $line =~ s/^([^\t]*)\t/$1 . ' ' x (8 - length($1) % 8)/e;
		$columns = length $line;
		finding($file, $i + 1, "$columns columns, more than $columns_max")
			if $columns > $columns_max;
	}
}

sub check_opening {
	my ($file, $lines) = @_;
	my $first = defined $lines->[0] ? $lines->[0] : '';
	my ($name) = $file =~ m{([^/]+)$};

	if ($file =~ /\.(c|h|cu|cuh)$/) {
		finding($file, 1, "does not open with '/* $name - what it owns'")
			unless $first =~ m{^/\* \Q$name\E - \S};
	} elsif ($file =~ /\.(sh|py)$/) {
		my $second = defined $lines->[1] ? $lines->[1] : '';

		finding($file, 1, "does not open with '#!' and a comment that says what it does")
			unless $first =~ /^#!/ && $second =~ /^(# |""")\S/ || $first =~ /^"""\S/;
	}
}

# A function's body opens with a brace in the first column; its head begins
# after the last blank line, comment, directive or closing brace before it.
sub check_functions {
	my ($file, $lines) = @_;

	for (my $i = 0; $i < @$lines; $i++) {
		next unless $lines->[$i] =~ /^\{/;
		my ($head, $end) = ($i, $i);

		$head-- while $head > 0 && $lines->[$head - 1] =~ /\S/ &&
			      $lines->[$head - 1] !~ m{^[#\}]|\*/\s*$|;\s*$};
		$end++ while $end < $#$lines && $lines->[$end] !~ /^\}/;
		my $length = $end - $head + 1;
		finding($file, $head + 1, "a function of $length lines, above $function_lines_max")
			if $length > $function_lines_max;
		$i = $end;
	}
}

sub check_includes {
	my ($file, $lines) = @_;
	my $from = folder($file);

	for my $i (0 .. $#$lines) {
		next unless $lines->[$i] =~ /^\s*#\s*include\s+"([^"]+)"/;
		my ($path, $to) = ($1, folder($1));

		if (!-e $path) {
			finding($file, $i + 1, "includes \"$path\": no such file from the root");
			next;
		}
		next if $to eq $from || $file =~ $in_tests;
		finding($file, $i + 1, "$from includes $to; the Makefile's USES_$from forbids it")
			unless $uses{$from} && $uses{$from}{$to};
	}
}

sub check_header {
	my ($file, $text) = @_;
	my $path = $file;
	my ($comment) = $text =~ m{^/\*(.*?)\*/}s;

	$path =~ s{^dataplane/base/}{base/};
	$path =~ s{^tests/test\.h$}{test.h};
	$path =~ s{^tests/support/}{tests/};
	my $guard = 'PETALS_' . uc $path;
	$guard =~ s/[^A-Z0-9]/_/g;
	my ($before) = $text =~ /^(.*?)#ifndef/s;
	my $line = 1 + (defined $before ? $before =~ tr/\n// : 0);
	finding($file, $line, "the include guard is not $guard")
		unless $text =~ /^#ifndef \Q$guard\E\n#define \Q$guard\E\n/m;
	return if $file =~ $in_tests;
	for my $heading (qw(Threads Ownership Units Errors)) {
		finding($file, 1, "the opening comment has no heading '$heading'")
			unless defined $comment && $comment =~ /^ \* \Q$heading\E\s+\S/m;
	}
}

sub call_allowed {
	my ($file, $text, $call, $where) = @_;

	return 1 if defined $where && $file =~ $where;
	return $call eq 'free' && $text =~ $allocates_for_us;
}

sub check_calls {
	my ($file, $text) = @_;
	my $code = [ split /\n/, $text, -1 ];

	for my $rule (@banned_calls) {
		my ($call, $where, $what) = @$rule;

		next unless $text =~ /(?<![\w.>])$call\s*\(/;
		for my $i (0 .. $#$code) {
			# Not a member of that name, nor the declaration of one.
			while ($code->[$i] =~ /(?<![\w.>])($call)\s*\(/g) {
				my $name = $1;

				next if call_allowed($file, $text, $name, $where);
				finding($file, $i + 1, "$name() $what");
			}
		}
	}
}

# A source has a test of its name, or a test beside that says which sources it covers in its
# opening comment: "Covers hop.c, hop_step.c."
sub check_tested {
	my ($file) = @_;
	my $stem = $file;

	for my $exception (@tested_elsewhere) {
		$stem = $1 . '.c' if $file =~ $exception->[0];
	}
	$stem =~ s/\.(c|cu)$//;
	return if -e "tests/${stem}_test.c";
	my ($folder, $name) = $stem =~ m{^(.*)/([^/]+)$};
	for my $test (glob("tests/$folder/*_test.c")) {
		open(my $in, '<', $test) or next;
		my $text = do { local $/; <$in> };

		return if $text =~ m{\A/\*(.*?)\*/}s && $1 =~ /\bCovers\b.*?\b\Q$name\E\.cu?\b/s;
	}
	finding($file, 1, "has no test: tests/${stem}_test.c is missing");
}

sub check_file {
	my ($file) = @_;
	my $text = slurp($file);
	my @lines = split /\n/, $text, -1;
	my $is_c = $file =~ /\.(c|h|cu|cuh)$/;

	finding($file, scalar @lines, 'does not end with a newline')
		if $text ne '' && $text !~ /\n\z/;
	pop @lines if @lines && $lines[-1] eq '';
	check_lines($file, $text, \@lines, $file !~ /\.md$/ && $file !~ /Makefile$/);
	check_opening($file, \@lines);
	return unless $is_c;

	my $from = folder($file);

	finding($file, $file_lines_max + 1, scalar(@lines) . " lines, more than $file_lines_max")
		if @lines > $file_lines_max;
	finding($file, 1, "$from is in no layer of the Makefile")
		unless $file =~ $in_tests || $uses{$from};
	check_functions($file, \@lines);
	check_includes($file, \@lines);
	check_header($file, $text) if $file =~ /\.h$/;
	check_calls($file, code_only($text));
	check_tested($file) if $file =~ /\.(c|cu)$/ && $file !~ m{^(tests|tools)/};
}

read_layers();
my @files = @ARGV ? @ARGV : list_files();
check_file($_) for @files;
for my $f (sort { $a->[0] cmp $b->[0] || $a->[1] <=> $b->[1] } @findings) {
	print "$f->[0]:$f->[1]: $f->[2]\n";
}
if (@findings) {
	print scalar(@findings), " findings in ", scalar(@files), " files\n";
	exit 1;
}
print "tidy: ", scalar(@files), " files, nothing found\n";
PERL
