/* gcm_evp.c - AES-128-GCM by OpenSSL's EVP, on any CPU.
 *
 * All that EVP allocates it allocates in open() and set(); with a key in place
 * its calls cannot fail for sound arguments, so a failure is ours and asserts.
 */
#include "dataplane/gcm.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"

struct gcm {
	EVP_CIPHER_CTX *context;
	bool encrypts;                  /* the message in progress */
};

static bool evp_usable(void)
{
	return true;
}

static void evp_close(struct gcm *g)
{
	if (!g)
		return;
	EVP_CIPHER_CTX_free(g->context);        /* wipes the key */
	mem_free(g);
}

static int evp_open(struct gcm **out)
{
	struct gcm *g = mem_calloc(1, sizeof(*g));

	*out = NULL;
	if (!g)
		return -ENOMEM;
	g->context = fault_here() ? NULL : EVP_CIPHER_CTX_new();
	if (!g->context) {
		mem_free(g);
		return -ENOMEM;
	}
	*out = g;
	return 0;
}

static void evp_wipe(struct gcm *g)
{
	EVP_CIPHER_CTX_reset(g->context);
}

static int evp_set(struct gcm *g, const uint8_t key[GCM_KEY_BYTES])
{
	if (fault_here() ||
	    EVP_CipherInit_ex(g->context, EVP_aes_128_gcm(), NULL, key, NULL, 1) != 1)
		return -ENOMEM;
	return 0;
}

static void evp_begin(struct gcm *g, const uint8_t iv[GCM_IV_BYTES], const void *aad,
		      size_t aad_bytes, bool encrypts)
{
	int done, rc;

	g->encrypts = encrypts;
	rc = EVP_CipherInit_ex(g->context, NULL, NULL, NULL, iv, encrypts);
	assert(rc == 1 && aad_bytes <= INT_MAX);
	rc = EVP_CipherUpdate(g->context, NULL, &done, aad, (int)aad_bytes);
	assert(rc == 1);
}

static void evp_update(struct gcm *g, const void *in, size_t bytes, void *out)
{
	int done, rc;

	if (bytes == 0)
		return;
	assert(bytes <= INT_MAX);
	rc = EVP_CipherUpdate(g->context, out, &done, in, (int)bytes);
	assert(rc == 1 && done == (int)bytes);
}

static bool evp_end(struct gcm *g, uint8_t tag[GCM_TAG_BYTES])
{
	uint8_t nothing[GCM_TAG_BYTES];
	int done, rc;

	if (!g->encrypts) {
		rc = EVP_CIPHER_CTX_ctrl(g->context, EVP_CTRL_AEAD_SET_TAG, GCM_TAG_BYTES, tag);
		assert(rc == 1);
		return EVP_CipherFinal_ex(g->context, nothing, &done) == 1;
	}
	rc = EVP_CipherFinal_ex(g->context, nothing, &done);
	assert(rc == 1);
	rc = EVP_CIPHER_CTX_ctrl(g->context, EVP_CTRL_AEAD_GET_TAG, GCM_TAG_BYTES, tag);
	assert(rc == 1);
	return true;
}

static void evp_encrypt(struct gcm *g, const uint8_t iv[GCM_IV_BYTES], const void *aad,
			size_t aad_bytes, const void *in, size_t bytes, void *out,
			uint8_t tag[GCM_TAG_BYTES])
{
	evp_begin(g, iv, aad, aad_bytes, true);
	evp_update(g, in, bytes, out);
	evp_end(g, tag);
}

static bool evp_decrypt(struct gcm *g, const uint8_t iv[GCM_IV_BYTES], const void *aad,
			size_t aad_bytes, const void *in, size_t bytes, void *out,
			const uint8_t tag[GCM_TAG_BYTES])
{
	evp_begin(g, iv, aad, aad_bytes, false);
	evp_update(g, in, bytes, out);
	return evp_end(g, (uint8_t *)tag);      /* only read when decrypting */
}

const struct gcm_ops gcm_evp = {
	.name = "openssl", .usable = evp_usable,
	.open = evp_open, .close = evp_close, .set = evp_set, .wipe = evp_wipe,
	.encrypt = evp_encrypt, .decrypt = evp_decrypt,
	.begin = evp_begin, .update = evp_update, .end = evp_end,
};
