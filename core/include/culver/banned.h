/* SPDX-License-Identifier: MIT
   Functions that do not compile in this project, and what to use. Included before every file by the build. */
#ifndef CV_BANNED_H
#define CV_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CV_BANNED(f) cv_banned_##f
#undef strcpy
#define strcpy(...) CV_BANNED(strcpy_use_cv_buf)
#undef strcat
#define strcat(...) CV_BANNED(strcat_use_cv_buf)
#undef strncpy
#define strncpy(...) CV_BANNED(strncpy_use_cv_buf)
#undef strncat
#define strncat(...) CV_BANNED(strncat_use_cv_buf)
#undef sprintf
#define sprintf(...) CV_BANNED(sprintf_use_cv_buf_printf)
#undef vsprintf
#define vsprintf(...) CV_BANNED(vsprintf_use_cv_buf_vprintf)
#undef strtok
#define strtok(...) CV_BANNED(strtok_use_cv_reader)
#undef gets
#define gets(...) CV_BANNED(gets)
#undef atoi
#define atoi(...) CV_BANNED(atoi_use_cv_parse_u32)
#undef atol
#define atol(...) CV_BANNED(atol_use_cv_parse_u64)
#undef system
#define system(...) CV_BANNED(system_use_execve)
#undef popen
#define popen(...) CV_BANNED(popen_use_execve)
#undef mktemp
#define mktemp(...) CV_BANNED(mktemp_use_mkstemp)
#undef alloca
#define alloca(...) CV_BANNED(alloca_use_an_arena)

#endif
