/* gcm_mb.c - AES-128-GCM by the single-buffer calls of libipsec-mb.
 *
 * The library's manager is asked once which functions suit the CPU; they need
 * nothing of it afterwards, so it is given back at once.
 */
#include "dataplane/gcm.h"

#include <errno.h>
#include <intel-ipsec-mb.h>
#include <pthread.h>
#include <openssl/crypto.h>

#include "dataplane/base/memory.h"

struct gcm {
	struct gcm_key_data key;
	struct gcm_context_data message;
	bool encrypts;                  /* the message in progress */
};

static struct {
	bool usable;
	aes_gcm_pre_t set;
	aes_gcm_enc_dec_t encrypt, decrypt;
	aes_gcm_init_t begin;
	aes_gcm_enc_dec_update_t encrypt_update, decrypt_update;
	aes_gcm_enc_dec_finalize_t encrypt_end, decrypt_end;
} calls;

static void find_calls(void)
{
	const uint64_t needed = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ | IMB_FEATURE_AVX;
	IMB_MGR *m = alloc_mb_mgr(0);
	IMB_ARCH arch;

	if (!m)
		return;
	init_mb_mgr_auto(m, &arch);
	calls.usable = imb_get_errno(m) == 0 && (m->features & needed) == needed;
	calls.set = m->gcm128_pre;
	calls.encrypt = m->gcm128_enc;
	calls.decrypt = m->gcm128_dec;
	calls.begin = m->gcm128_init;
	calls.encrypt_update = m->gcm128_enc_update;
	calls.decrypt_update = m->gcm128_dec_update;
	calls.encrypt_end = m->gcm128_enc_finalize;
	calls.decrypt_end = m->gcm128_dec_finalize;
	free_mb_mgr(m);
}

static bool mb_usable(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, find_calls);
	return calls.usable;
}

static int mb_open(struct gcm **out)
{
	*out = mem_aligned(alignof(struct gcm), sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

static void mb_wipe(struct gcm *g)
{
	OPENSSL_cleanse(g, sizeof(*g));
}

static void mb_close(struct gcm *g)
{
	if (!g)
		return;
	mb_wipe(g);
	mem_free(g);
}

static int mb_set(struct gcm *g, const uint8_t key[GCM_KEY_BYTES])
{
	calls.set(key, &g->key);
	return 0;
}

static void mb_encrypt(struct gcm *g, const uint8_t iv[GCM_IV_BYTES], const void *aad,
		       size_t aad_bytes, const void *in, size_t bytes, void *out,
		       uint8_t tag[GCM_TAG_BYTES])
{
	calls.encrypt(&g->key, &g->message, out, in, bytes, iv, aad, aad_bytes, tag,
		      GCM_TAG_BYTES);
}

static bool mb_decrypt(struct gcm *g, const uint8_t iv[GCM_IV_BYTES], const void *aad,
		       size_t aad_bytes, const void *in, size_t bytes, void *out,
		       const uint8_t tag[GCM_TAG_BYTES])
{
	uint8_t computed[GCM_TAG_BYTES];

	calls.decrypt(&g->key, &g->message, out, in, bytes, iv, aad, aad_bytes, computed,
		      GCM_TAG_BYTES);
	return CRYPTO_memcmp(computed, tag, GCM_TAG_BYTES) == 0;
}

static void mb_begin(struct gcm *g, const uint8_t iv[GCM_IV_BYTES], const void *aad,
		     size_t aad_bytes, bool encrypts)
{
	g->encrypts = encrypts;
	calls.begin(&g->key, &g->message, iv, aad, aad_bytes);
}

static void mb_update(struct gcm *g, const void *in, size_t bytes, void *out)
{
	if (bytes > 0)
		(g->encrypts ? calls.encrypt_update : calls.decrypt_update)(
			&g->key, &g->message, out, in, bytes);
}

static bool mb_end(struct gcm *g, uint8_t tag[GCM_TAG_BYTES])
{
	uint8_t computed[GCM_TAG_BYTES];

	if (g->encrypts) {
		calls.encrypt_end(&g->key, &g->message, tag, GCM_TAG_BYTES);
		return true;
	}
	calls.decrypt_end(&g->key, &g->message, computed, GCM_TAG_BYTES);
	return CRYPTO_memcmp(computed, tag, GCM_TAG_BYTES) == 0;
}

const struct gcm_ops gcm_mb = {
	.name = "ipsec-mb", .usable = mb_usable,
	.open = mb_open, .close = mb_close, .set = mb_set, .wipe = mb_wipe,
	.encrypt = mb_encrypt, .decrypt = mb_decrypt,
	.begin = mb_begin, .update = mb_update, .end = mb_end,
};
