/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A larger device: the door opens first, then the kernel lets requests come (kernel docs: ublk, UPDATE_SIZE). */
#include "state.h"

#include <errno.h>

int device_can_resize(const struct device *device, struct why *why)
{
	if (device->features & UBLK_F_UPDATE_SIZE)
		return 0;
	return why_set(
		why, -EOPNOTSUPP,
		"%s: the kernel's driver cannot resize a device, Linux 6.16 and later can; stop "
		"it, and use qemu-img resize",
		device->name);
}

int device_resize(struct device *device, uint64_t bytes, struct why *why)
{
	uint64_t sectors = bytes >> SECTOR_SHIFT;

	atomic_store_explicit(&device->disk.limits.sectors, sectors, memory_order_release);
	return ctrl_update_size(&device->ctrl, device->info.dev_id, sectors, why);
}
