/* SPDX-License-Identifier: MIT
   Settings: the manual page culver.ini(5), made from the tables. */
#include "core/conf/conf-private.h"

#define LINE 64 /* where a line of running text may end */

static void put_char(struct cv_buf *out, char c)
{
	if (c == '\\')
		cv_buf_append_c(out, "\\e");
	else if (c == '-')
		cv_buf_append_c(out, "\\-");
	else if (c == '"')
		cv_buf_append_c(out, "\\(dq");
	else
		cv_buf_append_char(out, c);
}

void cv_mdoc_text(struct cv_buf *out, const char *text)
{
	bool line_start = true;
	size_t column = 0;
	for (const char *p = text; *p != '\0'; p++, column++) {
		/* The formatter sets the space behind a sentence only when the line ends there. */
		bool sentence = *p == ' ' && p > text && strchr(".!?", p[-1]) != NULL && p[1] >= 'A' && p[1] <= 'Z';
		if (*p == '\n' || (*p == ' ' && p[1] != ' ' && p[1] != '\0' && !line_start && (sentence || column > LINE))) {
			cv_buf_append_char(out, '\n');
			line_start = true;
			column = 0;
			continue;
		}
		if (line_start && (*p == '.' || *p == '\''))
			cv_buf_append_c(out, "\\&");
		put_char(out, *p);
		line_start = false;
	}
}

void cv_mdoc_word(struct cv_buf *out, const char *text)
{
	cv_buf_append_c(out, "\\&");
	for (const char *p = text; *p != '\0'; p++) {
		if (*p == ' ')
			cv_buf_append_c(out, "\\ ");
		else
			put_char(out, *p);
	}
}

static const char head[] =
	".Dd November 27, 2026\n"
	".Dt CULVER.INI 5\n"
	".Os\n"
	".Sh NAME\n"
	".Nm culver.ini\n"
	".Nd settings of the Culver mail server\n"
	".Sh DESCRIPTION\n"
	"The server reads\n"
	".Pa culver.ini ,\n"
	"then every file\n"
	".Pa conf.d/*.ini\n"
	"beside it, in the order of their names.\n"
	"What is read later overrides what came earlier.\n"
	"A name that is not known, set twice in one section, or a value that\n"
	"cannot be right is an error: the server says all of them with file and\n"
	"line, and does not start; a running server keeps the settings it has.\n"
	".Ss Format\n"
	"A line is\n"
	".Dq name = value ,\n"
	".Dq [section]\n"
	"or a comment, which starts with\n"
	".Ql #\n"
	"or\n"
	".Ql \\&;\n"
	"and has a line of its own.\n"
	"Lines have at most 1022 octets; one that ends in a backslash goes on in\n"
	"the next.\n"
	"A value that holds\n"
	".Ql #\n"
	"or\n"
	".Ql \\&; ,\n"
	"or starts or ends with a blank, stands in\n"
	".Dq double\n"
	"or\n"
	".Sq single\n"
	"quotes; there are no escapes.\n"
	".Pp\n"
	".Bl -tag -width \"text with %variables\" -compact\n"
	".It yes or no\n"
	"also true, false, on, off, 1, 0\n"
	".It size\n"
	"octets, or a number with k, M, G or T (powers of 1024)\n"
	".It time\n"
	"a number with ms, s, m, h, d or w; a bare number counts seconds\n"
	".It list\n"
	"words with spaces or commas between them\n"
	".It text\n"
	"as it is;\n"
	".Ql <path\n"
	"is the content of that file, without its last line end.\n"
	"A relative path starts at the file that names it.\n"
	".It text with %variables\n"
	"see\n"
	".Sx Variables\n"
	".El\n"
	".Ss Sections\n"
	"Settings before the first section are at the top.\n"
	"These sections override settings of the top where they apply; a later\n"
	"one of these counts more, and within a kind the more exact one:\n"
	".Pp\n"
	".Bl -tag -width \"[remote NETWORK]\" -compact\n"
	".It [protocol NAME]\n"
	"sessions of that protocol\n"
	".It [remote NETWORK]\n"
	"clients from that address or network, such as 10.0.0.0/8\n"
	".It [local NETWORK]\n"
	"connections to that address of ours\n"
	".It [local NAME]\n"
	"clients that ask for that server name by TLS (SNI); *.example.com stands\n"
	"for one label\n"
	".El\n"
	".Pp\n"
	"Other sections,\n"
	".Dq [kind name] ,\n"
	"describe one thing each, of which there may be any number.\n"
	"Their order counts: password databases, for instance, are asked in file\n"
	"order.\n"
	"A section may go on in a later file under the same name.\n"
	".Ss Variables\n"
	"Settings whose type says so may hold variables, which mean what they mean\n"
	"in Dovecot 2.3:\n"
	".Pp\n"
	".Bl -tag -width \"%{session}\" -compact\n"
	".It %u, %{user}\n"
	"the whole user name\n"
	".It %n, %{username}\n"
	"the part before the @\n"
	".It %d, %{domain}\n"
	"the part behind the @\n"
	".It %h, %{home}\n"
	"home directory\n"
	".It %s, %{service}\n"
	"imap, pop3, lmtp \\&...\n"
	".It %p, %{pid}\n"
	"process number\n"
	".It %r, %{remote_ip}, %{rip}\n"
	"the client's address\n"
	".It %l, %{local_ip}, %{lip}\n"
	"our address\n"
	".It %i, %{uid}\n"
	"the user's system uid\n"
	".It %{session}\n"
	"the session's id\n"
	".It %%\n"
	"a percent sign\n"
	".El\n"
	".Pp\n"
	"Between % and the name may stand, in this order: an offset and a dot, a\n"
	"width, modifiers.\n"
	".Ql %2u\n"
	"is the first two octets,\n"
	".Ql %2.3u\n"
	"three from the third on,\n"
	".Ql %\\-3.2u\n"
	"two from the third last on,\n"
	".Ql %0.\\-2u\n"
	"leaves out the last two, and\n"
	".Ql %06i\n"
	"pads with zeros.\n"
	"Modifiers:\n"
	".Pp\n"
	".Bl -tag -width \"L, U\" -compact\n"
	".It L, U\n"
	"lower case, upper case\n"
	".It R\n"
	"reversed\n"
	".It T\n"
	"without blanks at the end\n"
	".It E\n"
	"quotes and backslashes escaped by a backslash\n"
	".It X\n"
	"a number in hexadecimal\n"
	".It D\n"
	"a domain as an LDAP name: dots become\n"
	".Dq ,dc=\n"
	".It M\n"
	"MD5 in hexadecimal\n"
	".It N\n"
	"a hash;\n"
	".Ql %2.256Nu\n"
	"gives 00 to ff\n"
	".It H\n"
	"an older hash\n"
	".El\n"
	".Pp\n"
	".Ql %{sha256:user}\n"
	"is a digest (md5, sha1, sha256, sha384, sha512); options:\n"
	".Ql %{sha256;rounds=2,salt=x,truncate=32,format=hex:user} ,\n"
	"where format may be base64.\n"
	".Ql %{if;%n;eq;root;yes;no}\n"
	"chooses: operators are == != < <= > >= for numbers, eq ne lt le gt ge, *\n"
	"and !* (mask), ~ and !~ (regular expression); a backslash makes the next\n"
	"octet ordinary.\n";

static const char tail[] =
	".Sh FILES\n"
	".Bl -tag -width Ds -compact\n"
	".It Pa " CV_CONF_DIR "/culver.ini\n"
	".It Pa " CV_CONF_DIR "/conf.d/*.ini\n"
	".El\n"
	".Sh SEE ALSO\n"
	".Xr culver 1 ,\n"
	".Xr culverd 8\n"
	".Pp\n"
	".Ql culver conf\n"
	"shows all settings,\n"
	".Ql culver conf \\-n\n"
	"those that differ from their defaults,\n"
	".Ql culver conf check\n"
	"every problem, and\n"
	".Ql culver conf explain NAME\n"
	"what one means and where it is set.\n";

static void put_row(struct cv_buf *out, const struct cv_setting *row)
{
	struct cv_buf bounds;

	cv_buf_init(&bounds, 1024);
	cv_conf_format_bounds(&bounds, row);
	cv_buf_append_c(out, ".It Ic ");
	cv_mdoc_text(out, row->key);
	cv_buf_append_char(out, '\n');
	if (row->help != NULL)
		cv_mdoc_text(out, row->help);
	cv_buf_append_c(out, "\n.Pp\n");
	cv_buf_append_c(out, "Type: ");
	cv_mdoc_text(out, (row->opts & CV_SET_READFILE) != 0 ? "path of a file" : cv_conf_type_name(row->type));
	if (bounds.len > 0) {
		cv_buf_append_c(out, " (");
		cv_mdoc_text(out, bounds.data);
		cv_buf_append_char(out, ')');
	}
	if ((row->opts & CV_SET_REQUIRED) != 0) {
		cv_buf_append_c(out, ".\nIt must be set.\n");
	} else if (row->def != NULL && *row->def != '\0') {
		cv_buf_append_c(out, ".\nDefault: ");
		cv_mdoc_text(out, row->def);
		cv_buf_append_char(out, '\n');
	} else {
		cv_buf_append_c(out, ".\n");
	}
	cv_buf_deinit(&bounds);
}

static bool seen_before(const struct cv_settings_table *const *tables, size_t at, const struct cv_settings_table *table, const char *key)
{
	for (size_t i = 0; i < at; i++) {
		const struct cv_settings_table *other = tables[i];
		if ((other->kind == NULL) != (table->kind == NULL) || (other->kind != NULL && strcmp(other->kind, table->kind) != 0))
			continue;
		for (size_t j = 0; j < other->count; j++)
			if (strcmp(other->rows[j].key, key) == 0)
				return true;
	}
	return false;
}

void cv_conf_manual(const struct cv_settings_table *const *tables, size_t table_count, struct cv_buf *out)
{
	cv_buf_append_c(out, head);
	cv_buf_append_c(out, ".Sh SETTINGS\n");
	for (unsigned pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < table_count; i++) {
			const struct cv_settings_table *table = tables[i];
			if ((table->kind == NULL) != (pass == 0))
				continue;
			cv_buf_append_c(out, ".Ss ");
			cv_mdoc_text(out, table->title != NULL ? table->title : "Other");
			cv_buf_append_char(out, '\n');
			if (table->kind != NULL) {
				cv_buf_append_c(out, "In sections\n.Dq [");
				cv_mdoc_text(out, table->kind);
				cv_buf_append_c(out, " NAME] :\n");
			}
			if (table->extra)
				cv_buf_append_c(out, "Further names are handed to the driver as they are.\n");
			size_t told = 0;
			for (size_t j = 0; j < table->count; j++) {
				if (seen_before(tables, i, table, table->rows[j].key))
					continue;
				if (told++ == 0)
					cv_buf_append_c(out, ".Bl -tag -width Ds\n");
				put_row(out, &table->rows[j]);
			}
			cv_buf_append_c(out, told > 0 ? ".El\n" : "These are settings that are described above.\n");
		}
	}
	cv_buf_append_c(out, tail);
}
