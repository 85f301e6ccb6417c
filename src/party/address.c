#include "party/party_int.h"

#include <string.h>

#include "crypto/hash.h"

#define ATTEMPTS 256

static void derive(uint8_t hash[SHA256_LEN], const char *label, const uint8_t party[PARTY_ID_LEN],
                   const uint8_t node[NODE_ID_LEN], struct bytes tail)
{
    struct bytes parts[] = {bytes_of_str(label), bytes_of(party, PARTY_ID_LEN), bytes_of(node, NODE_ID_LEN),
                            tail};
    sha256(hash, parts, 4);
}

bool host_usable(uint16_t host)
{
    uint8_t last = host & 0xff;
    return last != 0 && last != 255;
}

uint16_t party_address(const struct party *p, const uint8_t salt_or_party[32],
                       const uint8_t node[NODE_ID_LEN])
{
    for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
        uint8_t hash[SHA256_LEN], count = (uint8_t)attempt;
        derive(hash, "warren address v1", salt_or_party, node, bytes_of(&count, 1));
        struct rd r = rd_of(bytes_of(hash, 8));
        uint16_t host = (uint16_t)(1 + rd_u64(&r) % 65534);
        if (host_usable(host) && !(p && party_member_by_ip4(p, p->net4 | host)))
            return host;
    }
    return 0;
}

void party_mac(uint8_t mac[6], const uint8_t party[PARTY_ID_LEN], const uint8_t node[NODE_ID_LEN])
{
    uint8_t hash[SHA256_LEN];
    derive(hash, "warren mac v1", party, node, bytes_of(NULL, 0));
    /* Unicast, locally administered (IEEE 802 section 8.2). */
    mac[0] = 0x02;
    memcpy(mac + 1, hash, 5);
}

void party_ip6(uint8_t ip6[16], const uint8_t net6[8], const uint8_t party[PARTY_ID_LEN],
               const uint8_t node[NODE_ID_LEN])
{
    uint8_t hash[SHA256_LEN];
    derive(hash, "warren ip6 v1", party, node, bytes_of(NULL, 0));
    memcpy(ip6, net6, 8);
    memcpy(ip6 + 8, hash, 8);
}

bool party_net4_allowed(uint32_t net4)
{
    static const struct {
        uint32_t net, mask;
    } ranges[] = {
        {0x0a000000, 0xff000000}, /* 10/8, RFC 1918 */
        {0xac100000, 0xfff00000}, /* 172.16/12, RFC 1918 */
        {0xc0a80000, 0xffff0000}, /* 192.168/16, RFC 1918 */
        {0x64400000, 0xffc00000}, /* 100.64/10, RFC 6598 */
        {0xc6120000, 0xfffe0000}, /* 198.18/15, RFC 2544 */
    };
    if (net4 & 0xffff)
        return false;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if ((net4 & ranges[i].mask) == ranges[i].net)
            return true;
    return false;
}

uint32_t party_pick_net4(const struct rng *rng)
{
    return 0x0a400000u + ((uint32_t)rng_below(rng, 64) << 16);
}
