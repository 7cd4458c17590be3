/* SPDX-License-Identifier: MIT
   Charset names and aliases as mail writes them, and which converter reads them. */
#include <config.h>

#include "core/message/charset-private.h"

#include <stdio.h>
#include <string.h>

/* key: the name in lower case, letters and digits only. Supersets stand in for what is labelled wrongly so often that every
   mail program does the same. */
struct alias {
	const char *key;
	const char *iconv_name; /* "" guess, "8" UTF-8, "7" UTF-7, "1" windows-1252 */
};
static const struct alias aliases[] = {
	{ "utf8", "8" }, { "xutf8", "8" }, { "utf8mb4", "8" }, { "unicode11utf8", "8" }, { "unicode20utf8", "8" },
	{ "usascii", "" }, { "ascii", "" }, { "xusascii", "" }, { "ansix341968", "" }, { "ansix341986", "" }, { "iso646us", "" },
	{ "iso646irv", "" }, { "us", "" }, { "646", "" }, { "csascii", "" }, { "isoir6", "" },
	{ "latin1", "1" }, { "l1", "1" }, { "isoir100", "1" }, { "csisolatin1", "1" }, { "xansi", "1" }, { "ansi", "1" },
	{ "latin2", "ISO-8859-2" }, { "l2", "ISO-8859-2" }, { "csisolatin2", "ISO-8859-2" }, { "isoir101", "ISO-8859-2" },
	{ "latin3", "ISO-8859-3" }, { "l3", "ISO-8859-3" }, { "latin4", "ISO-8859-4" }, { "l4", "ISO-8859-4" },
	{ "latin5", "CP1254" }, { "l5", "CP1254" }, { "csisolatin5", "CP1254" },
	{ "latin6", "ISO-8859-10" }, { "l6", "ISO-8859-10" }, { "latin7", "ISO-8859-13" },
	{ "latin8", "ISO-8859-14" }, { "l8", "ISO-8859-14" }, { "latin9", "ISO-8859-15" }, { "latin0", "ISO-8859-15" },
	{ "l9", "ISO-8859-15" }, { "latin10", "ISO-8859-16" },
	{ "cyrillic", "ISO-8859-5" }, { "csisolatincyrillic", "ISO-8859-5" }, { "arabic", "ISO-8859-6" },
	{ "csisolatinarabic", "ISO-8859-6" }, { "asmo708", "ISO-8859-6" }, { "ecma114", "ISO-8859-6" },
	{ "greek", "ISO-8859-7" }, { "greek8", "ISO-8859-7" }, { "csisolatingreek", "ISO-8859-7" },
	{ "ecma118", "ISO-8859-7" }, { "hebrew", "ISO-8859-8" }, { "csisolatinhebrew", "ISO-8859-8" },
	{ "visual", "ISO-8859-8" }, { "logical", "ISO-8859-8" },
	{ "tis620", "CP874" }, { "tis6200", "CP874" }, { "dos874", "CP874" },
	{ "koi8r", "KOI8-R" }, { "koi8", "KOI8-R" }, { "cskoi8r", "KOI8-R" }, { "koi", "KOI8-R" }, { "koi8u", "KOI8-U" },
	{ "koi8ru", "KOI8-RU" }, { "koi8t", "KOI8-T" },
	{ "shiftjis", "CP932" }, { "sjis", "CP932" }, { "xsjis", "CP932" }, { "mskanji", "CP932" },
	{ "windows31j", "CP932" }, { "csshiftjis", "CP932" }, { "cswindows31j", "CP932" }, { "shiftjisx0213", "CP932" },
	{ "eucjp", "EUC-JP" }, { "xeucjp", "EUC-JP" }, { "xeuc", "EUC-JP" }, { "ujis", "EUC-JP" },
	{ "cseucpkdfmtjapanese", "EUC-JP" }, { "eucjpms", "EUC-JP-MS" },
	{ "iso2022jp", "ISO-2022-JP" }, { "csiso2022jp", "ISO-2022-JP" }, { "jis", "ISO-2022-JP" },
	{ "iso2022jp1", "ISO-2022-JP-2" }, { "iso2022jp2", "ISO-2022-JP-2" }, { "iso2022jpms", "ISO-2022-JP" },
	{ "euckr", "CP949" }, { "ksc5601", "CP949" }, { "ksc56011987", "CP949" }, { "ksc56011989", "CP949" },
	{ "ksc56011992", "CP949" }, { "korean", "CP949" }, { "uhc", "CP949" }, { "cseuckr", "CP949" },
	{ "csksc56011987", "CP949" }, { "isoir149", "CP949" }, { "iso2022kr", "ISO-2022-KR" },
	{ "csiso2022kr", "ISO-2022-KR" }, { "johab", "JOHAB" },
	{ "gb18030", "GB18030" }, { "gb2312", "GB18030" }, { "gb231280", "GB18030" }, { "csgb2312", "GB18030" },
	{ "euccn", "GB18030" }, { "gbk", "GB18030" }, { "xgbk", "GB18030" }, { "chinese", "GB18030" },
	{ "csiso58gb231280", "GB18030" }, { "gb", "GB18030" }, { "xgb2312", "GB18030" },
	{ "iso2022cn", "ISO-2022-CN" }, { "iso2022cnext", "ISO-2022-CN" },
	{ "big5", "BIG5-HKSCS" }, { "cnbig5", "BIG5-HKSCS" }, { "xxbig5", "BIG5-HKSCS" }, { "csbig5", "BIG5-HKSCS" },
	{ "big5hkscs", "BIG5-HKSCS" }, { "xbig5", "BIG5-HKSCS" }, { "euctw", "EUC-TW" }, { "xeuctw", "EUC-TW" },
	{ "utf7", "7" }, { "unicode11utf7", "7" }, { "xunicode11utf7", "7" }, { "unicode20utf7", "7" },
	{ "xunicode20utf7", "7" }, { "csunicode11utf7", "7" },
	{ "utf16", "UTF-16" }, { "unicode", "UTF-16" }, { "ucs2", "UTF-16" }, { "iso10646ucs2", "UTF-16BE" },
	{ "utf16le", "UTF-16LE" }, { "ucs2le", "UTF-16LE" }, { "utf16be", "UTF-16BE" }, { "ucs2be", "UTF-16BE" },
	{ "utf32", "UTF-32" }, { "ucs4", "UTF-32" }, { "utf32le", "UTF-32LE" }, { "utf32be", "UTF-32BE" },
	{ "macintosh", "MACINTOSH" }, { "macroman", "MACINTOSH" }, { "xmacroman", "MACINTOSH" }, { "mac", "MACINTOSH" },
	{ "xmacintosh", "MACINTOSH" }, { "xmaccyrillic", "MAC-CYRILLIC" }, { "maccyrillic", "MAC-CYRILLIC" },
	{ "xmaccentraleurroman", "MAC-CENTRALEUROPE" }, { "xmacce", "MAC-CENTRALEUROPE" },
	{ "maccentraleurope", "MAC-CENTRALEUROPE" }, { "xmacukrainian", "MAC-CYRILLIC" },
	{ "viscii", "VISCII" }, { "tcvn", "TCVN" }, { "tcvn5712", "TCVN" }, { "armscii8", "ARMSCII-8" },
	{ "georgianps", "GEORGIAN-PS" }, { "georgianacademy", "GEORGIAN-ACADEMY" },
};

/* Code pages by number, as "windows-N", "cp-N", "ibmN", "x-cpN", "msN", "dosN". */
static const struct {
	uint32_t number;
	const char *iconv_name;
} code_pages[] = { { 367, "" }, { 437, "CP437" }, { 737, "CP737" }, { 775, "CP775" }, { 819, "1" }, { 850, "CP850" },
	{ 852, "CP852" }, { 855, "CP855" }, { 857, "CP857" }, { 858, "CP858" }, { 860, "CP860" }, { 861, "CP861" },
	{ 862, "CP862" }, { 863, "CP863" }, { 864, "CP864" }, { 865, "CP865" }, { 866, "CP866" }, { 869, "CP869" },
	{ 874, "CP874" }, { 932, "CP932" }, { 936, "GB18030" }, { 943, "CP932" }, { 949, "CP949" }, { 950, "BIG5-HKSCS" },
	{ 1200, "UTF-16LE" }, { 1201, "UTF-16BE" }, { 1250, "CP1250" }, { 1251, "CP1251" }, { 1252, "1" },
	{ 1253, "CP1253" }, { 1254, "CP1254" }, { 1255, "CP1255" }, { 1256, "CP1256" }, { 1257, "CP1257" },
	{ 1258, "CP1258" }, { 1361, "JOHAB" }, { 10000, "MACINTOSH" }, { 10007, "MAC-CYRILLIC" }, { 20127, "" },
	{ 20866, "KOI8-R" }, { 20932, "EUC-JP" }, { 21866, "KOI8-U" }, { 28591, "1" }, { 28592, "ISO-8859-2" },
	{ 28595, "ISO-8859-5" }, { 28597, "ISO-8859-7" }, { 28605, "ISO-8859-15" }, { 50220, "ISO-2022-JP" },
	{ 51932, "EUC-JP-MS" }, { 51949, "CP949" }, { 54936, "GB18030" }, { 65000, "7" }, { 65001, "8" } };

static const char *by_code_page(struct cv_str key)
{
	static const char *const prefixes[] = { "windows", "xwindows", "win", "xcp", "cp", "ibm", "dos", "ms", "xms", "cswindows" };
	uint32_t number;

	for (size_t i = 0; i < CV_COUNT_OF(prefixes); i++) {
		struct cv_str prefix = cv_str_c(prefixes[i]);

		if (!cv_str_starts(key, prefix) ||
			!cv_str_to_u32(cv_str_sub(key, prefix.len, SIZE_MAX), 99999, &number))
			continue;
		for (size_t k = 0; k < CV_COUNT_OF(code_pages); k++) {
			if (code_pages[k].number == number)
				return code_pages[k].iconv_name;
		}
	}
	return NULL;
}

/* "iso8859" part [ "i" | "e" ]: the suffixes of RFC 1556 say how the text is laid out, not how it is coded. */
static const char *by_iso_8859(struct cv_str key, char buf[24])
{
	static const struct cv_str prefixes[] = { CV_STR_INIT("iso8859"), CV_STR_INIT("xiso8859"), CV_STR_INIT("8859") };
	uint32_t part;

	for (size_t i = 0; i < CV_COUNT_OF(prefixes); i++) {
		if (!cv_str_starts(key, prefixes[i]))
			continue;
		struct cv_str rest = cv_str_sub(key, prefixes[i].len, SIZE_MAX);

		if (cv_str_ends(rest, CV_STR("i")) || cv_str_ends(rest, CV_STR("e")))
			rest.len--;
		if (!cv_str_to_u32(rest, 16, &part) || part == 0 || part == 12)
			continue;
		if (part == 1)
			return "1";
		if (part == 9)
			return "CP1254";
		if (part == 11)
			return "CP874";
		(void)snprintf(buf, 24, "ISO-8859-%u", (unsigned)part);
		return buf;
	}
	return NULL;
}

void cv_charset_resolve(struct cv_str name, struct cv_charset_name *name_r)
{
	char key_mem[40], iso[24];
	struct cv_str key = { .ptr = key_mem }, head, tail;
	const char *found;

	*name_r = (struct cv_charset_name){ .kind = CV_CHARSET_GUESS, .unit = 1 };
	if (cv_str_split(name, ':', &head, &tail)) /* "ISO_8859-2:1987" */
		name = head;
	for (size_t i = 0; i < name.len; i++) {
		if (!cv_is_alnum(name.ptr[i]))
			continue;
		if (key.len == sizeof(key_mem))
			return;
		key_mem[key.len++] = cv_lower(name.ptr[i]);
	}
	/* The most usual ones first. */
	found = by_iso_8859(key, iso);
	if (found == NULL)
		found = by_code_page(key);
	for (size_t i = 0; i < CV_COUNT_OF(aliases) && found == NULL && key.len > 0; i++) {
		if (aliases[i].key[0] == key.ptr[0] && cv_str_eq_c(key, aliases[i].key))
			found = aliases[i].iconv_name;
	}
	if (found == NULL)
		return;
	name_r->known = true;
	if (strcmp(found, "") == 0)
		return;
	if (strcmp(found, "8") == 0) {
		name_r->kind = CV_CHARSET_UTF8;
	} else if (strcmp(found, "7") == 0) {
		name_r->kind = CV_CHARSET_UTF7;
	} else if (strcmp(found, "1") == 0) {
		name_r->kind = CV_CHARSET_WINDOWS_1252;
	} else {
		name_r->kind = CV_CHARSET_ICONV;
		(void)snprintf(name_r->iconv_name, sizeof(name_r->iconv_name), "%s", found);
		if (strncmp(found, "UTF-16", 6) == 0)
			name_r->unit = 2;
		else if (strncmp(found, "UTF-32", 6) == 0)
			name_r->unit = 4;
	}
}
