/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's ublk interface, Linux 6.12 to 7.3: the part of it that a server of ordinary disks
 * needs.  Written from the documented layouts (Documentation/block/ublk.rst); every offset that
 * the kernel relies on is asserted.
 */
#ifndef UAPI_LINUX_UBLK_CMD_H
#define UAPI_LINUX_UBLK_CMD_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <stddef.h>

/* --- control commands, to /dev/ublk-control ---------------------------------------------------- */

/* Payload of a control command, at offset 48 of a 128-byte SQE. */
struct ublksrv_ctrl_cmd {
	__u32 dev_id; /* ADD: all ones asks for any free id */
	__u16 queue_id; /* all ones */
	__u16 len; /* bytes at addr */
	__u64 addr; /* buffer, in or out */
	__u64 data[1]; /* argument */
	__u16 dev_path_len; /* unprivileged devices only; else 0 */
	__u16 pad;
	__u32 reserved;
};

#define UBLK_U_CMD_GET_QUEUE_AFFINITY _IOR('u', 0x01, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_GET_DEV_INFO _IOR('u', 0x02, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_ADD_DEV _IOWR('u', 0x04, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_DEL_DEV _IOWR('u', 0x05, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_START_DEV _IOWR('u', 0x06, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_STOP_DEV _IOWR('u', 0x07, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_SET_PARAMS _IOWR('u', 0x08, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_GET_PARAMS _IOR('u', 0x09, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_START_USER_RECOVERY _IOWR('u', 0x10, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_END_USER_RECOVERY _IOWR('u', 0x11, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_GET_FEATURES _IOR('u', 0x13, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_DEL_DEV_ASYNC _IOR('u', 0x14, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_UPDATE_SIZE _IOWR('u', 0x15, struct ublksrv_ctrl_cmd) /* 6.16: data[0] sectors */

#define UBLK_FEATURES_LEN 8

/* Features and device flags.  ADD answers with the set that it granted. */
#define UBLK_F_SUPPORT_ZERO_COPY (1ULL << 0)
#define UBLK_F_URING_CMD_COMP_IN_TASK (1ULL << 1)
#define UBLK_F_NEED_GET_DATA (1ULL << 2)
#define UBLK_F_USER_RECOVERY (1ULL << 3)
#define UBLK_F_USER_RECOVERY_REISSUE (1ULL << 4)
#define UBLK_F_UNPRIVILEGED_DEV (1ULL << 5)
#define UBLK_F_CMD_IOCTL_ENCODE (1ULL << 6)
#define UBLK_F_USER_COPY (1ULL << 7)
#define UBLK_F_ZONED (1ULL << 8)
#define UBLK_F_USER_RECOVERY_FAIL_IO (1ULL << 9)
#define UBLK_F_UPDATE_SIZE (1ULL << 10)
#define UBLK_F_AUTO_BUF_REG (1ULL << 11)
#define UBLK_F_QUIESCE (1ULL << 12)
#define UBLK_F_PER_IO_DAEMON (1ULL << 13)
#define UBLK_F_BUF_REG_OFF_DAEMON (1ULL << 14)
#define UBLK_F_BATCH_IO (1ULL << 15)
#define UBLK_F_INTEGRITY (1ULL << 16)
#define UBLK_F_SAFE_STOP_DEV (1ULL << 17)
#define UBLK_F_NO_AUTO_PART_SCAN (1ULL << 18)
#define UBLK_F_SHMEM_ZC (1ULL << 19)
#define UBLK_F_IO_DESC_SIZE (1ULL << 20)

struct ublksrv_ctrl_dev_info {
	__u16 nr_hw_queues; /* asked for -> given, at most one per possible CPU */
	__u16 queue_depth;
	__u16 state;
	__u16 io_desc_size; /* 7.3 */
	__u32 max_io_buf_bytes; /* rounded down to whole pages */
	__s32 dev_id;
	__s32 ublksrv_pid;
	__u32 pad1;
	__u64 flags; /* UBLK_F_*: asked for -> granted */
	__u64 ublksrv_flags; /* the server's own, kept by the kernel */
	__u32 owner_uid;
	__u32 owner_gid;
	__u64 reserved1;
	__u64 reserved2;
};

/* --- parameters -------------------------------------------------------------------------------- */

#define UBLK_ATTR_READ_ONLY (1 << 0)
#define UBLK_ATTR_ROTATIONAL (1 << 1)
#define UBLK_ATTR_VOLATILE_CACHE (1 << 2)
#define UBLK_ATTR_FUA (1 << 3)

struct ublk_param_basic {
	__u32 attrs; /* UBLK_ATTR_* */
	__u8 logical_bs_shift;
	__u8 physical_bs_shift;
	__u8 io_opt_shift;
	__u8 io_min_shift;
	__u32 max_sectors;
	__u32 chunk_sectors;
	__u64 dev_sectors;
	__u64 virt_boundary_mask;
};

struct ublk_param_discard {
	__u32 discard_alignment;
	__u32 discard_granularity;
	__u32 max_discard_sectors;
	__u32 max_write_zeroes_sectors;
	__u16 max_discard_segments;
	__u16 reserved0;
};

struct ublk_param_dma_align {
	__u32 alignment; /* a mask, for the memory of requests */
	__u8 pad[4];
};

#define UBLK_PARAM_TYPE_BASIC (1 << 0)
#define UBLK_PARAM_TYPE_DISCARD (1 << 1)
#define UBLK_PARAM_TYPE_DMA_ALIGN (1 << 4)

/*
 * The head of the kernel's structure.  What follows (segments, integrity) we do not set, and the
 * kernel takes the length that it is told.
 */
struct ublk_params {
	__u32 len; /* of this structure */
	__u32 types; /* UBLK_PARAM_TYPE_* that are filled in */
	struct ublk_param_basic basic;
	struct ublk_param_discard discard;
	__u8 devt_and_zoned[48]; /* that of the device, and of zoned ones: not set by us */
	struct ublk_param_dma_align dma_align;
};

/* Up to and with a member. */
#define UBLK_PARAMS_BYTES(member) \
	(offsetof(struct ublk_params, member) + sizeof(((struct ublk_params *)0)->member))

/* --- requests, through /dev/ublkcN -------------------------------------------------------------- */

/* One per tag, mapped read only; valid from the completion of a command to the next commit. */
struct ublksrv_io_desc {
	__u32 op_flags; /* op in bits 0-7, UBLK_IO_F_* above */
	__u32 nr_sectors; /* of 512 bytes */
	__u64 start_sector;
	__u64 addr; /* copy mode: the buffer of the tag */
};

#define UBLK_IO_OP_READ 0
#define UBLK_IO_OP_WRITE 1
#define UBLK_IO_OP_FLUSH 2
#define UBLK_IO_OP_DISCARD 3
#define UBLK_IO_OP_WRITE_ZEROES 5
#define UBLK_IO_OP_MASK 0xffu

#define UBLK_IO_F_FUA (1u << 13)
#define UBLK_IO_F_NOUNMAP (1u << 15)
#define UBLK_IO_F_NEED_REG_BUF (1u << 17) /* the buffer could not be registered */

/*
 * UBLK_F_AUTO_BUF_REG: goes into `addr` of the SQE of a request command, and names the place in
 * the ring's table of buffers for the next request of the tag.
 */
#define UBLK_AUTO_BUF_REG_FALLBACK (1u << 16) /* deliver requests that cannot be registered */

/* UBLK_F_USER_COPY: where the bytes of a request are in /dev/ublkcN, for pread() and pwrite(). */
#define UBLK_USER_COPY_POS(q, tag) \
	(UINT64_C(0x80000000) + ((__u64)(q) << 41) + ((__u64)(tag) << 25))

/* Payload of a request command, at offset 48 of an ordinary SQE. */
struct ublksrv_io_cmd {
	__u16 q_id;
	__u16 tag;
	__s32 result; /* COMMIT: bytes or -errno */
	__u64 addr; /* copy mode: the buffer for the next request of this tag; else 0 */
};

#define UBLK_U_IO_FETCH_REQ _IOWR('u', 0x20, struct ublksrv_io_cmd)
#define UBLK_U_IO_COMMIT_AND_FETCH_REQ _IOWR('u', 0x21, struct ublksrv_io_cmd)

/* Results of request commands; everything else below 0 is an error of the server. */
#define UBLK_IO_RES_OK 0
#define UBLK_IO_RES_ABORT (-19) /* -ENODEV: the tag is gone */

#define UBLK_MAX_QUEUE_DEPTH 4096
#define UBLK_MAX_NR_QUEUES 4096

/* ublksrv_ctrl_dev_info.state */
#define UBLK_S_DEV_DEAD 0
#define UBLK_S_DEV_LIVE 1
#define UBLK_S_DEV_QUIESCED 2
#define UBLK_S_DEV_FAIL_IO 3

#define UBLK_MAX_DEV_ID ((1 << 20) - 1) /* ids that a device number can hold */

/* Descriptors of queue q are mapped at q times this, rounded up to whole pages. */
#define UBLK_QUEUE_STRIDE (UBLK_MAX_QUEUE_DEPTH * sizeof(struct ublksrv_io_desc))

/* --- layout ------------------------------------------------------------------------------------- */

#define UBLK_AT(type, field, offset) \
	_Static_assert(offsetof(struct type, field) == (offset), #type "." #field)

UBLK_AT(ublksrv_ctrl_cmd, queue_id, 4);
UBLK_AT(ublksrv_ctrl_cmd, len, 6);
UBLK_AT(ublksrv_ctrl_cmd, addr, 8);
UBLK_AT(ublksrv_ctrl_cmd, data, 16);
UBLK_AT(ublksrv_ctrl_cmd, dev_path_len, 24);
_Static_assert(sizeof(struct ublksrv_ctrl_cmd) == 32, "ublksrv_ctrl_cmd");
_Static_assert(UBLK_U_CMD_GET_FEATURES == 0x80207513, "encoding of control commands");
_Static_assert(UBLK_U_CMD_ADD_DEV == 0xc0207504, "encoding of control commands");
_Static_assert(UBLK_U_CMD_GET_PARAMS == 0x80207509, "encoding of control commands");
_Static_assert(UBLK_U_CMD_END_USER_RECOVERY == 0xc0207511, "encoding of control commands");

UBLK_AT(ublksrv_ctrl_dev_info, queue_depth, 2);
UBLK_AT(ublksrv_ctrl_dev_info, state, 4);
UBLK_AT(ublksrv_ctrl_dev_info, io_desc_size, 6);
UBLK_AT(ublksrv_ctrl_dev_info, max_io_buf_bytes, 8);
UBLK_AT(ublksrv_ctrl_dev_info, dev_id, 12);
UBLK_AT(ublksrv_ctrl_dev_info, ublksrv_pid, 16);
UBLK_AT(ublksrv_ctrl_dev_info, flags, 24);
UBLK_AT(ublksrv_ctrl_dev_info, ublksrv_flags, 32);
UBLK_AT(ublksrv_ctrl_dev_info, owner_uid, 40);
_Static_assert(sizeof(struct ublksrv_ctrl_dev_info) == 64, "ublksrv_ctrl_dev_info");

UBLK_AT(ublk_param_basic, logical_bs_shift, 4);
UBLK_AT(ublk_param_basic, io_opt_shift, 6);
UBLK_AT(ublk_param_basic, max_sectors, 8);
UBLK_AT(ublk_param_basic, chunk_sectors, 12);
UBLK_AT(ublk_param_basic, dev_sectors, 16);
UBLK_AT(ublk_param_basic, virt_boundary_mask, 24);
_Static_assert(sizeof(struct ublk_param_basic) == 32, "ublk_param_basic");

UBLK_AT(ublk_param_discard, max_write_zeroes_sectors, 12);
UBLK_AT(ublk_param_discard, max_discard_segments, 16);
_Static_assert(sizeof(struct ublk_param_discard) == 20, "ublk_param_discard");

UBLK_AT(ublk_params, basic, 8);
UBLK_AT(ublk_params, discard, 40);
UBLK_AT(ublk_params, dma_align, 108);
_Static_assert(UBLK_PARAMS_BYTES(discard) == 60 && UBLK_PARAMS_BYTES(dma_align) == 116,
	       "ublk_params");

UBLK_AT(ublksrv_io_desc, nr_sectors, 4);
UBLK_AT(ublksrv_io_desc, start_sector, 8);
UBLK_AT(ublksrv_io_desc, addr, 16);
_Static_assert(sizeof(struct ublksrv_io_desc) == 24, "ublksrv_io_desc");

UBLK_AT(ublksrv_io_cmd, tag, 2);
UBLK_AT(ublksrv_io_cmd, result, 4);
UBLK_AT(ublksrv_io_cmd, addr, 8);
_Static_assert(sizeof(struct ublksrv_io_cmd) == 16, "ublksrv_io_cmd");
_Static_assert(UBLK_U_IO_COMMIT_AND_FETCH_REQ == 0xc0107521, "encoding of request commands");

#undef UBLK_AT

#endif
