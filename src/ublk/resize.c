/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device of another size (kernel docs: ublk, UPDATE_SIZE).  When it becomes larger, the door opens first, then
 * the kernel lets requests come; when it becomes smaller, it closes after the kernel has stopped that.
 */
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
	_Atomic uint64_t *door = &device->disk.limits.sectors;
	int err;

	if (sectors > atomic_load(&device->disk.limits.sectors_most))
		atomic_store(&device->disk.limits.sectors_most, sectors);
	if (sectors > atomic_load(door))
		atomic_store_explicit(door, sectors, memory_order_release);
	err = ctrl_update_size(&device->ctrl, device->info.dev_id, sectors, why);
	if (!err)
		atomic_store_explicit(door, sectors, memory_order_release);
	return err;
}
