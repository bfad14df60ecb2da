/* address.c - takes HOST:PORT apart, checks it, asks the resolver. */
#include "dataplane/base/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/base/fault.h"

/* The parts of an address's text, pointing into it. */
struct parts {
	const char *host;
	size_t host_bytes;
	bool bracketed;
	const char *port;
};

static int wrong(struct error *e, const char *text, const char *why)
{
	return error_set(e, -EINVAL,
			 "'%.100s' is not HOST:PORT: %s (such as 10.0.0.1:7700, "
			 "[::1]:7700 or host:7700)", text, why);
}

static const char *split(const char *text, struct parts *p)
{
	const char *colon = strrchr(text, ':'), *close;

	if (text[0] == '[') {
		close = strchr(text, ']');
		if (!close)
			return "the ']' is missing";
		if (close[1] != ':')
			return "the port is missing";
		*p = (struct parts){ text + 1, (size_t)(close - text - 1), true, close + 2 };
		return NULL;
	}
	if (!colon)
		return "the port is missing";
	if (strchr(text, ':') != colon)
		return "an IPv6 address goes in brackets";
	*p = (struct parts){ text, (size_t)(colon - text), false, colon + 1 };
	return NULL;
}

static const char *check_host(const struct parts *p)
{
	char host[ADDRESS_TEXT_BYTES];
	struct in6_addr v6;
	char *scope;

	if (p->host_bytes == 0)
		return "the host is missing; 0.0.0.0 means every interface";
	memcpy(host, p->host, p->host_bytes);
	host[p->host_bytes] = '\0';
	if (p->bracketed) {
		scope = strchr(host, '%');
		if (scope)
			*scope = '\0';
		return inet_pton(AF_INET6, host, &v6) == 1 ? NULL :
			"what stands in brackets is not an IPv6 address";
	}
	for (const char *s = host; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr(".-_", *s))
			return "the host holds a character that no name has";
	return NULL;
}

static const char *check_port(const char *port)
{
	unsigned value = 0;

	if (!*port)
		return "the port is missing";
	for (const char *s = port; *s; s++) {
		if (!isdigit((unsigned char)*s))
			return "the port is not a number";
		value = value * 10 + (unsigned)(*s - '0');
		if (value > UINT16_MAX)
			return "the port is above 65535";
	}
	return NULL;
}

int address_parse(struct address *out, const char *text, struct error *e)
{
	struct parts p;
	const char *why;

	*out = (struct address){ "" };
	if (strlen(text) >= sizeof(out->text))
		return wrong(e, text, "it is too long");
	why = split(text, &p);
	if (!why)
		why = check_host(&p);
	if (!why)
		why = check_port(p.port);
	if (why)
		return wrong(e, text, why);
	memcpy(out->text, text, strlen(text) + 1);
	return 0;
}

int address_resolve(const struct address *a, struct sockaddr_storage *out,
		    socklen_t *length, struct error *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *found;
	char host[ADDRESS_TEXT_BYTES];
	struct parts p;
	const char *why = split(a->text, &p);
	int rc;

	if (why)
		return wrong(e, a->text, why);
	memcpy(host, p.host, p.host_bytes);
	host[p.host_bytes] = '\0';
	rc = fault_here() ? EAI_MEMORY : getaddrinfo(host, p.port, &hints, &found);
	if (rc != 0)
		return error_set(e, -EHOSTUNREACH, "cannot resolve '%s' of '%s': %s", host,
				 a->text, gai_strerror(rc));
	assert(found->ai_addrlen <= sizeof(*out));
	memset(out, 0, sizeof(*out));
	memcpy(out, found->ai_addr, found->ai_addrlen);
	*length = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

/* The IPv4 address inside ::ffff:a.b.c.d, or NULL. */
static const struct in_addr *mapped_v4(const struct sockaddr_in6 *v6)
{
	if (!IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		return NULL;
	return (const struct in_addr *)(v6->sin6_addr.s6_addr + 12);
}

void address_of_sockaddr(struct address *out, const struct sockaddr *sa)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;
	char host[INET6_ADDRSTRLEN];

	if (sa->sa_family == AF_INET) {
		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
		snprintf(out->text, sizeof(out->text), "%s:%u", host, ntohs(v4->sin_port));
	} else if (sa->sa_family == AF_INET6 && mapped_v4(v6)) {
		inet_ntop(AF_INET, mapped_v4(v6), host, sizeof(host));
		snprintf(out->text, sizeof(out->text), "%s:%u", host, ntohs(v6->sin6_port));
	} else if (sa->sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		snprintf(out->text, sizeof(out->text), "[%s]:%u", host, ntohs(v6->sin6_port));
	} else {
		snprintf(out->text, sizeof(out->text), "unknown:0");
	}
}

bool address_is_loopback(const struct sockaddr *sa)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;
	const struct in_addr *mapped;

	if (sa->sa_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	if (sa->sa_family != AF_INET6)
		return false;
	mapped = mapped_v4(v6);
	if (mapped)
		return ntohl(mapped->s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

uint16_t address_port(const struct address *a)
{
	const char *colon = strrchr(a->text, ':');
	unsigned value = 0;

	for (const char *s = colon ? colon + 1 : ""; isdigit((unsigned char)*s); s++)
		value = value * 10 + (unsigned)(*s - '0');
	return (uint16_t)value;
}
