/* SPDX-License-Identifier: MIT
   POP3: what the part before login and the session share: command lines, response codes, capabilities, the start of a session. */
#ifndef CV_POP3_H
#define CV_POP3_H

#include <culver/buf.h>
#include <culver/err.h>
#include <culver/stream.h>

/* RFC 2449 section 4: octets of a command line, its CRLF included. */
#define CV_POP3_LINE_MAX 255
/* A line with a SASL response (RFC 5034 section 4): what the mechanisms may need, base64 encoded. */
#define CV_POP3_AUTH_LINE_MAX 16384
/* Octets of input that may wait, before login and after it alike: what was not read before goes along. */
#define CV_POP3_INPUT_MAX (CV_POP3_AUTH_LINE_MAX + 4096)

/* Command lines of one connection. Zeroed, then cv_pop3_input_init. */
struct cv_pop3_input {
	struct cv_buf line; /* the last line taken, without its line end; wiped: it may hold a password */
	bool discarding;    /* within a line that was too long */
};

void cv_pop3_input_init(struct cv_pop3_input *input);
void cv_pop3_input_deinit(struct cv_pop3_input *input);
/* Take one line, ended by CRLF or LF, off the stream into input->line. max is in octets with its line end. 1; 0 when there is no whole
   line yet (nothing is consumed, unless it is the rest of a line that is too long); -1 once for each line that is too long or holds a NUL: its octets
   are thrown away up to its line end. */
CV_MUST_CHECK int cv_pop3_input_line(struct cv_pop3_input *input, struct cv_stream *stream, size_t max);

/* Append a reply line in the language (pop3-text.h) and its CRLF: at most 512 octets (RFC 1939 section 3). Control characters become "?", so that a text
   from elsewhere cannot end the line; so do octets outside ASCII, unless a language was chosen, whose texts are UTF-8 (RFC 6856 section 3.2). */
void cv_pop3_append_line(struct cv_buf *out, unsigned language, const char *fmt, va_list ap) CV_PRINTF(3, 0);

/* "[SYS/TEMP] " and the like (RFC 2449 section 8, RFC 3206 section 4) for a failure, with its space; "" when no code fits. login: it is about
   credentials and policy at login, where CV_ERR_PERM is [AUTH]. */
const char *cv_pop3_response_code(enum cv_err_code code, bool login);

/* The capabilities that are the same before and after login (RFC 2449 section 6), each with its CRLF. utf8_user: names and passwords may be in UTF-8. */
void cv_pop3_append_capabilities(struct cv_buf *out, bool utf8_user);

/* The start of a session as the part before login gives it: capability lines that depend on what front knows (USER, SASL, IMPLEMENTATION …),
   since those announced must be the same in both states; and what was agreed upon before login. */
#define CV_POP3_RESUME_LINES 8
struct cv_pop3_resume {
	struct cv_str lines[CV_POP3_RESUME_LINES];
	size_t count;
	bool utf8;            /* the client gave UTF8 */
	bool utf8_user;       /* UTF8 is announced with USER */
	unsigned language;    /* chosen by LANG; 0: none */
	unsigned star;        /* the language that "LANG *" chooses */
	uint32_t login_delay; /* seconds between logins; 0: none */
};
void cv_pop3_resume_put(const struct cv_pop3_resume *resume, struct cv_buf *out);
/* Views point into data. False when data does not check: lines must be printable ASCII. */
CV_MUST_CHECK bool cv_pop3_resume_take(struct cv_str data, struct cv_pop3_resume *resume_r);

#endif
