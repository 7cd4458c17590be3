/* SPDX-License-Identifier: MIT
   The main of fuzz targets that are not linked with libFuzzer: replays files, then tries a bounded number of mutations of them.

   usage: fuzz-NAME [-runs=N] [-seed=N] [-max_len=N] [-seconds=N] [-save=FILE] [FILE|DIR]...
   Without a path: t/fuzz/corpus/NAME of the source tree. The same seed gives the same inputs. -save keeps each mutated input in FILE before
   it is tried, so that it is there after a crash. Words to insert come from t/fuzz/dict/NAME too, where there is one. With FUZZ_SECONDS in the
   environment it goes on for so long, and the seed is the clock's (and printed), unless -seed= names one. */
#include <config.h>

#include "t/fuzz/fuzz.h"
#include <culver/map.h>
#include <culver/reader.h>
#include <culver/time.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (4 * 1024 * 1024)

static struct {
	uint64_t runs, seed, max_len, seconds;
	const char *save;
	CV_VEC(struct cv_buf) inputs;
	CV_VEC(struct cv_buf) words;
} fuzz = { .runs = 1000, .seed = 1, .max_len = 65536, .seconds = 10 };

static uint64_t next_random(void)
{
	/* xorshift64*: any generator does that is the same everywhere */
	fuzz.seed ^= fuzz.seed >> 12;
	fuzz.seed ^= fuzz.seed << 25;
	fuzz.seed ^= fuzz.seed >> 27;
	return fuzz.seed * UINT64_C(2685821657736338717);
}

static size_t below(size_t n)
{
	return n > 0 ? (size_t)((next_random() >> 16) % n) : 0;
}

static bool read_file(const char *path)
{
	struct cv_buf buf;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = 1;

	if (fd < 0)
		return false;
	cv_buf_init(&buf, FILE_MAX);
	while (got > 0) {
		char *to = cv_buf_reserve(&buf, 65536);

		got = to != NULL ? read(fd, to, 65536) : -1;
		if (got > 0)
			cv_buf_commit(&buf, (size_t)got);
	}
	(void)close(fd);
	if (got < 0) {
		cv_buf_deinit(&buf);
		return false;
	}
	*cv_vec_push(&fuzz.inputs) = buf;
	return true;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool read_path(const char *path)
{
	CV_VEC(char *) names = { 0 };
	struct stat st;
	DIR *dir;
	const struct dirent *entry;
	bool ok = true;

	if (stat(path, &st) < 0)
		return false;
	if (!S_ISDIR(st.st_mode))
		return read_file(path);
	dir = opendir(path);
	if (dir == NULL)
		return false;
	while ((entry = readdir(dir)) != NULL) {
		struct cv_buf name;

		if (entry->d_name[0] == '.')
			continue;
		cv_buf_init(&name, 4096);
		cv_buf_printf(&name, "%s/%s", path, entry->d_name);
		*cv_vec_push(&names) = cv_strdup(name.data);
		cv_buf_deinit(&name);
	}
	(void)closedir(dir);
	if (names.count > 0) /* the order of a directory differs from machine to machine */
		qsort(names.data, names.count, sizeof(*names.data), compare_names);
	for (size_t i = 0; i < names.count; i++) {
		ok = ok && read_file(names.data[i]);
		cv_free(names.data[i]);
	}
	cv_vec_free(&names);
	return ok;
}

static void try_input(struct cv_str input)
{
	/* a copy of its exact size, so that the address sanitizer sees a read beyond it */
	uint8_t *copy = cv_malloc(input.len);

	if (input.len > 0)
		memcpy(copy, input.ptr, input.len);
	(void)LLVMFuzzerTestOneInput(copy, input.len);
	cv_free(copy);
}

/* libFuzzer's form: NAME="text" or "text", with \\, \" and \xHH. */
static void add_word(struct cv_str line)
{
	size_t start = cv_str_find(line, '"'), end = cv_str_rfind(line, '"');
	struct cv_buf word, octet;

	if (line.len == 0 || line.ptr[0] == '#' || start == SIZE_MAX || end == start)
		return;
	cv_buf_init(&word, 1024);
	cv_buf_init(&octet, 1);
	for (size_t i = start + 1; i < end; i++) {
		if (line.ptr[i] == '\\' && i + 3 < end && line.ptr[i + 1] == 'x' && cv_hex_decode(&octet, cv_str_sub(line, i + 2, 2))) {
			cv_buf_append(&word, cv_buf_str(&octet));
			cv_buf_clear(&octet);
			i += 3;
			continue;
		}
		i += line.ptr[i] == '\\' && i + 1 < end;
		cv_buf_append_char(&word, line.ptr[i]);
	}
	cv_buf_deinit(&octet);
	*cv_vec_push(&fuzz.words) = word;
}

/* A dictionary is an input less at the end of the vector. */
static void read_words(const char *path)
{
	struct cv_reader r;
	struct cv_buf text;
	struct cv_str line;

	if (!read_file(path))
		return;
	text = fuzz.inputs.data[--fuzz.inputs.count];
	r = cv_reader_init(cv_buf_str(&text));
	while (cv_take_line(&r, &line))
		add_word(line);
	cv_buf_deinit(&text);
}

static struct cv_str any_word(void)
{
	static const char *const common[] = { "\n", "\r\n", "\r\n\r\n", "\n\n", "--", "=?", "?=", "=", ";", ":", "\"", "<", ">", "(", ")", ",",
		"Content-Type: ", "multipart/mixed; boundary=b", "message/rfc822", "--b\n", "--b--\n", "\xC3", "\xFF", "%", "{1}",
		" ", "\t" };

	/* Its own words are the better ones. */
	if (fuzz.words.count > 0 && below(4) != 0)
		return cv_buf_str(&fuzz.words.data[below(fuzz.words.count)]);
	return cv_str_c(common[below(CV_COUNT_OF(common))]);
}

static void replace_part(struct cv_buf *to, struct cv_str from, size_t at, size_t drop, struct cv_str insert)
{
	cv_buf_clear(to);
	cv_buf_append(to, cv_str_sub(from, 0, at));
	cv_buf_append(to, insert);
	cv_buf_append(to, cv_str_sub(from, at + CV_MIN(drop, from.len - at), SIZE_MAX));
}

static void mutate_once(struct cv_buf *input, struct cv_buf *scratch)
{
	struct cv_str s = cv_buf_str(input), other, insert = CV_STR("");
	size_t at = below(s.len + 1), drop = 0;

	switch (below(8)) {
	case 0:
		if (s.len > 0)
			input->data[below(s.len)] ^= (char)(1 << below(8));
		return;
	case 1:
		if (s.len > 0)
			input->data[below(s.len)] = (char)below(256);
		return;
	case 2:
		drop = 1 + below(s.len / 4 + 1);
		break;
	case 3:
		insert = cv_str_sub(s, below(s.len), 1 + below(64));
		break;
	case 4:
		insert = any_word();
		break;
	case 5:
		insert = any_word();
		drop = below(8);
		break;
	case 6:
		other = cv_buf_str(&fuzz.inputs.data[below(fuzz.inputs.count)]);
		insert = cv_str_sub(other, below(other.len), 1 + below(512));
		break;
	default:
		insert = cv_str_sub(s, below(s.len), 1 + below(s.len));
		break;
	}
	if (s.len - CV_MIN(drop, s.len - at) + insert.len > fuzz.max_len)
		return;
	replace_part(scratch, s, at, drop, insert);
	cv_buf_clear(input);
	cv_buf_append(input, cv_buf_str(scratch));
}

static void save(struct cv_str s)
{
	int fd = open(fuzz.save, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, s.ptr, s.len) != (ssize_t)s.len)
		(void)fprintf(stderr, "%s: %s\n", fuzz.save, strerror(errno));
	if (fd >= 0)
		(void)close(fd);
}

static uint64_t mutations(void)
{
	uint64_t start = cv_time_mono_ms(), run;
	struct cv_buf input, scratch;

	cv_buf_init(&input, FILE_MAX);
	cv_buf_init(&scratch, FILE_MAX);
	for (run = 0; run < fuzz.runs && fuzz.inputs.count > 0; run++) {
		if (cv_time_mono_ms() - start > fuzz.seconds * 1000)
			break;
		cv_buf_clear(&input);
		cv_buf_append(&input, cv_buf_str(&fuzz.inputs.data[below(fuzz.inputs.count)]));
		for (size_t n = 1 + below(6); n > 0; n--)
			mutate_once(&input, &scratch);
		if (fuzz.save != NULL)
			save(cv_buf_str(&input));
		try_input(cv_buf_str(&input));
	}
	cv_buf_deinit(&scratch);
	cv_buf_deinit(&input);
	return run;
}

/* FUZZ_SECONDS: as long as it says, and somewhere else each time. */
static bool from_environment(void)
{
	const char *seconds = getenv("FUZZ_SECONDS");

	if (seconds == NULL)
		return true;
	if (!cv_str_to_u64(cv_str_c(seconds), 1000000, &fuzz.seconds))
		return false;
	fuzz.runs = UINT64_MAX;
	fuzz.seed = cv_time_mono_ms();
	return true;
}

static bool option(const char *arg, const char *name, uint64_t *n_r)
{
	size_t len = strlen(name);

	return strncmp(arg, name, len) == 0 && cv_str_to_u64(cv_str_c(arg + len), UINT32_MAX, n_r);
}

int main(int argc, char **argv)
{
	const char *base = strrchr(argv[0], '/');
	struct cv_buf path;
	uint64_t runs;
	int paths = 0;

	base = base != NULL ? base + 1 : argv[0];
	if (strncmp(base, "lt-", 3) == 0)
		base += 3;
	if (strncmp(base, "fuzz-", 5) == 0)
		base += 5;
	if (!from_environment()) {
		(void)fprintf(stderr, "fuzz-%s: FUZZ_SECONDS is no number of seconds\n", base);
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "-save=", 6) == 0) {
			fuzz.save = argv[i] + 6;
		} else if (argv[i][0] == '-') {
			if (!option(argv[i], "-runs=", &fuzz.runs) && !option(argv[i], "-seed=", &fuzz.seed) &&
				!option(argv[i], "-max_len=", &fuzz.max_len) && !option(argv[i], "-seconds=", &fuzz.seconds)) {
				(void)fprintf(stderr, "fuzz-%s: unknown option %s\n", base, argv[i]);
				return 2;
			}
		} else {
			paths++;
			if (!read_path(argv[i])) {
				(void)fprintf(stderr, "fuzz-%s: %s: %s\n", base, argv[i], strerror(errno));
				return 2;
			}
		}
	}
	cv_buf_init(&path, 4096);
	cv_buf_printf(&path, "%s/%s", CV_FUZZ_CORPUS, base);
	if (paths == 0 && !read_path(path.data)) {
		(void)fprintf(stderr, "fuzz-%s: %s: %s\n", base, path.data, strerror(errno));
		return 2;
	}
	cv_buf_clear(&path);
	cv_buf_printf(&path, "%s/../dict/%s", CV_FUZZ_CORPUS, base);
	read_words(path.data);
	cv_buf_deinit(&path);
	if (fuzz.seed == 0)
		fuzz.seed = 1;
	(void)printf("fuzz-%s: seed %llu\n", base, (unsigned long long)fuzz.seed);
	(void)fflush(stdout);
	try_input(CV_STR(""));
	for (size_t i = 0; i < fuzz.inputs.count; i++)
		try_input(cv_buf_str(&fuzz.inputs.data[i]));
	runs = mutations();
	(void)printf("fuzz-%s: %zu inputs, %llu mutations\n", base, fuzz.inputs.count, (unsigned long long)runs);
	for (size_t i = 0; i < fuzz.inputs.count; i++)
		cv_buf_deinit(&fuzz.inputs.data[i]);
	cv_vec_free(&fuzz.inputs);
	for (size_t i = 0; i < fuzz.words.count; i++)
		cv_buf_deinit(&fuzz.words.data[i]);
	cv_vec_free(&fuzz.words);
	return 0;
}
