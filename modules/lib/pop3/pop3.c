/* SPDX-License-Identifier: MIT
   POP3: what the part before login and the session share. */
#include <config.h>

#include "modules/lib/pop3/pop3.h"

#include "modules/lib/pop3/pop3-text.h"

#include <culver/reader.h>

void cv_pop3_input_init(struct cv_pop3_input *input)
{
	cv_buf_init_wipe(&input->line, CV_POP3_AUTH_LINE_MAX);
	input->discarding = false;
}

void cv_pop3_input_deinit(struct cv_pop3_input *input)
{
	cv_buf_deinit(&input->line);
}

int cv_pop3_input_line(struct cv_pop3_input *input, struct cv_stream *stream, size_t max)
{
	struct cv_str in = cv_stream_input(stream), line;
	size_t end;

	if (max > CV_POP3_AUTH_LINE_MAX)
		max = CV_POP3_AUTH_LINE_MAX;
	cv_buf_clear(&input->line);
	end = cv_str_find(in, '\n');
	if (input->discarding) {
		if (end == SIZE_MAX) {
			cv_stream_consume(stream, in.len);
			return 0;
		}
		cv_stream_consume(stream, end + 1);
		input->discarding = false;
		return -1;
	}
	if (end == SIZE_MAX) {
		if (in.len < max)
			return 0;
		cv_stream_consume(stream, in.len);
		input->discarding = true;
		return 0;
	}
	line = cv_str_sub(in, 0, end);
	if (cv_str_ends(line, CV_STR("\r")))
		line.len--;
	if (end >= max || cv_str_has_nul(line)) {
		cv_stream_consume(stream, end + 1);
		return -1;
	}
	cv_buf_append(&input->line, line);
	cv_stream_consume(stream, end + 1);
	return 1;
}

void cv_pop3_append_line(struct cv_buf *out, unsigned language, const char *fmt, va_list ap)
{
	size_t start = out->len, end;
	bool utf8;

	cv_buf_vprintf(out, cv_pop3_text(language, fmt), ap);
	if (out->len - start > 510) {
		/* No character is cut. */
		for (end = start + 510; end > start && ((uint8_t)out->data[end] & 0xc0u) == 0x80u;)
			end--;
		cv_buf_truncate(out, end);
	}
	utf8 = language != CV_ENGLISH && cv_str_is_utf8(cv_str_sub(cv_buf_str(out), start, SIZE_MAX));
	for (size_t i = start; i < out->len; i++) {
		uint8_t c = (uint8_t)out->data[i];

		if (c < ' ' || c == 0x7f || (c > 0x7f && !utf8))
			out->data[i] = '?';
	}
	cv_buf_append_c(out, "\r\n");
}

const char *cv_pop3_response_code(enum cv_err_code code, bool login)
{
	switch (code) {
	case CV_ERR_TEMP:
	case CV_ERR_UNAVAILABLE:
	case CV_ERR_NOQUOTA:
		return "[SYS/TEMP] ";
	case CV_ERR_CORRUPT:
	case CV_ERR_INTERNAL:
		return "[SYS/PERM] ";
	case CV_ERR_UNSUPPORTED:
		/* A mechanism that is not there: neither the system nor the credentials are at fault. */
		return login ? "" : "[SYS/PERM] ";
	case CV_ERR_AUTH:
	case CV_ERR_EXPIRED:
	case CV_ERR_AUTHZ:
		return "[AUTH] ";
	case CV_ERR_PERM:
	case CV_ERR_INVALID:
	case CV_ERR_NOTFOUND:
		return login ? "[AUTH] " : "[SYS/PERM] ";
	case CV_ERR_INUSE:
		return "[IN-USE] ";
	case CV_ERR_LIMIT:
		/* Before login it is a limit on attempts, after it one on the user's connections. */
		return login ? "[SYS/TEMP] " : "[IN-USE] ";
	case CV_ERR_NONE:
	case CV_ERR_EXISTS:
	case CV_ERR_EXPUNGED:
		break;
	}
	return "";
}

void cv_pop3_append_capabilities(struct cv_buf *out, bool utf8_user)
{
	cv_buf_append_c(out, "TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n");
	cv_buf_append_c(out, utf8_user ? "UTF8 USER\r\nLANG\r\n" : "UTF8\r\nLANG\r\n");
}

void cv_pop3_resume_put(const struct cv_pop3_resume *resume, struct cv_buf *out)
{
	cv_put_u8(out, (uint8_t)resume->count);
	for (size_t i = 0; i < resume->count; i++)
		cv_put_str(out, resume->lines[i]);
	cv_put_u8(out, resume->utf8 ? 1 : 0);
	cv_put_u8(out, resume->utf8_user ? 1 : 0);
	cv_put_u8(out, (uint8_t)resume->language);
	cv_put_u8(out, (uint8_t)resume->star);
	cv_put_u32(out, resume->login_delay);
}

static bool is_printable(struct cv_str s)
{
	struct cv_reader r = cv_reader_init(s);
	char c;

	while (cv_take_any(&r, &c)) {
		if (c < ' ' || c > '~')
			return false;
	}
	return true;
}

bool cv_pop3_resume_take(struct cv_str data, struct cv_pop3_resume *resume_r)
{
	struct cv_reader r = cv_reader_init(data);
	struct cv_pop3_resume resume = { 0 };
	uint8_t count, utf8, utf8_user, language, star;

	if (!cv_take_u8(&r, &count) || count > CV_POP3_RESUME_LINES)
		return false;
	for (; resume.count < count; resume.count++) {
		if (!cv_take_str(&r, 512, &resume.lines[resume.count]) || resume.lines[resume.count].len == 0 ||
			!is_printable(resume.lines[resume.count]))
			return false;
	}
	if (!cv_take_u8(&r, &utf8) || utf8 > 1 || !cv_take_u8(&r, &utf8_user) || utf8_user > 1 || !cv_take_u8(&r, &language) || language >= CV_LANGUAGES || !cv_take_u8(&r, &star) ||
		star >= CV_LANGUAGES || !cv_take_u32(&r, &resume.login_delay) || !cv_reader_end(&r))
		return false;
	resume.utf8 = utf8 == 1;
	resume.utf8_user = utf8_user == 1;
	resume.language = language;
	resume.star = star;
	*resume_r = resume;
	return true;
}
