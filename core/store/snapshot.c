/* SPDX-License-Identifier: MIT
   Snapshots: writing and mapping them. */
#include <config.h>

#include "core/store/snapshot.h"
#include <culver/base.h>

void cv_snapshot_free(struct cv_snapshot **snapshot)
{
	*snapshot = NULL;
}
