/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libcrypto by dlopen(3), in the version that its headers are of. */
#include "library.h"
#include "base.h"
#include "crypto.h"

#include <dlfcn.h>

#define TEXT(number) #number
#define NAME_OF(version) "libcrypto.so." TEXT(version)

struct library library;

/* Functions are looked up as objects are, and POSIX says that this works. */
static bool find(void *handle, const char *name, void *function)
{
	void *symbol = dlsym(handle, name);

	memcpy(function, &symbol, sizeof(symbol));
	return symbol != NULL;
}

static bool load(void)
{
	void *handle = dlopen(NAME_OF(OPENSSL_SHLIB_VERSION), RTLD_NOW | RTLD_LOCAL);
	bool all = handle != NULL;

	if (!handle)
		log_error("%s", dlerror());
#define FIND(name) all = all && find(handle, #name, &library.name);
	LIBRARY_FUNCTIONS(FIND)
#undef FIND
	return all;
}

bool library_load(void)
{
	static bool loaded;

	loaded = loaded || load();
	return loaded;
}

bool crypto_available(void)
{
	return library_load();
}
