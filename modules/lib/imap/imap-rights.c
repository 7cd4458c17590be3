/* SPDX-License-Identifier: MIT
   Rights as letters. */
#include <config.h>

#include "imap-rights.h"

#define CREATE_MEMBERS (CV_RIGHT_CREATE | CV_RIGHT_DELETE)
#define DELETE_MEMBERS (CV_RIGHT_DELETED | CV_RIGHT_EXPUNGE)

static const struct {
	char letter;
	unsigned right;
} letters[] = {
	{ 'l', CV_RIGHT_LOOKUP },
	{ 'r', CV_RIGHT_READ },
	{ 's', CV_RIGHT_SEEN },
	{ 'w', CV_RIGHT_WRITE },
	{ 'i', CV_RIGHT_INSERT },
	{ 'p', CV_RIGHT_POST },
	{ 'k', CV_RIGHT_CREATE },
	{ 'x', CV_RIGHT_DELETE },
	{ 't', CV_RIGHT_DELETED },
	{ 'e', CV_RIGHT_EXPUNGE },
	{ 'a', CV_RIGHT_ADMIN },
	{ 'n', CV_RIGHT_NOTE },
};

static unsigned right_of(char letter)
{
	if (letter == 'c')
		return CREATE_MEMBERS;
	if (letter == 'd')
		return DELETE_MEMBERS;
	for (size_t i = 0; i < CV_COUNT_OF(letters); i++)
		if (letters[i].letter == letter)
			return letters[i].right;
	return 0;
}

int cv_imap_rights_parse(struct cv_str s, unsigned *rights_r, struct cv_err *err)
{
	*rights_r = 0;
	for (size_t i = 0; i < s.len; i++) {
		unsigned right = right_of(s.ptr[i]);

		if (right == 0 && s.ptr[i] >= 'A' && s.ptr[i] <= 'Z')
			return cv_err_set_public(err, CV_ERR_INVALID, "Uppercase rights are not allowed");
		if (right == 0 && cv_is_alnum(s.ptr[i]))
			return cv_err_set_public(err, CV_ERR_INVALID, "The %c right is not supported", s.ptr[i]);
		if (right == 0)
			return cv_err_set_public(err, CV_ERR_INVALID, "Rights are letters");
		*rights_r |= right;
	}
	return 0;
}

void cv_imap_rights_append(struct cv_buf *out, unsigned rights)
{
	for (size_t i = 0; i < CV_COUNT_OF(letters); i++)
		if ((rights & letters[i].right) != 0)
			cv_buf_append_char(out, letters[i].letter);
	if ((rights & CREATE_MEMBERS) != 0)
		cv_buf_append_char(out, 'c');
	if ((rights & DELETE_MEMBERS) != 0)
		cv_buf_append_char(out, 'd');
}

char cv_imap_right_letter(unsigned number, unsigned *right_r)
{
	if (number >= CV_COUNT_OF(letters))
		return 0;
	*right_r = letters[number].right;
	return letters[number].letter;
}
