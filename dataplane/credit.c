/* credit.c - the counting behind credit.h. */
#include "dataplane/credit.h"

void credit_granted(struct credit *c, uint32_t slots)
{
	c->granted_to_us = c->available = slots;
}

bool credit_take(struct credit *c)
{
	if (c->available == 0)
		return false;
	c->available--;
	return true;
}

void credit_untake(struct credit *c)
{
	assert(c->available < c->granted_to_us);
	c->available++;
}

bool credit_returned(struct credit *c, uint32_t slots)
{
	if (slots > c->granted_to_us - c->available)
		return false;
	c->available += slots;
	return true;
}

void credit_grant(struct credit *c, uint32_t slots)
{
	c->granted_by_us = c->allowance = slots;
}

bool credit_arrived(struct credit *c)
{
	if (c->allowance == 0)
		return false;
	c->allowance--;
	return true;
}

void credit_owe(struct credit *c)
{
	assert(c->allowance + c->owed < c->granted_by_us);
	c->owed++;
}

bool credit_is_due(const struct credit *c)
{
	return c->owed > 0 && (c->allowance == 0 || 2 * c->owed >= c->granted_by_us);
}

uint8_t credit_tell(struct credit *c)
{
	uint8_t told = (uint8_t)MIN(c->owed, UINT8_MAX);

	c->owed -= told;
	c->allowance += told;
	return told;
}

void credit_untell(struct credit *c, uint8_t told)
{
	assert(c->allowance >= told);
	c->allowance -= told;
	c->owed += told;
}

void credit_unarrived(struct credit *c)
{
	assert(c->allowance + c->owed < c->granted_by_us);
	c->allowance++;
}
