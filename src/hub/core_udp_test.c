#include "crypto/hash.h"
#include "hub/udp_kit_int.h"
#include "wire/stun.h"

/* ---- logging in ---- */

static void welcome_tells_of_udp(void **state)
{
    struct udp_kit u;
    uint8_t first[SIGNAL_UDP_KEY_LEN];
    static const uint8_t zero[SIGNAL_UDP_KEY_LEN];
    udp_begin(&u, 1);
    kit_start(&u.k);
    kit_login(&u.k, 0);
    struct signal *s = &u.k.got;
    assert_true(s->u.welcome.has_udp);
    assert_false(s->u.welcome.has_turn);
    assert_int_equal(s->u.welcome.udp_count, 2);
    assert_true(net_addr_equal(&s->u.welcome.udp[0], &u.k.config.udp_addrs[0]));
    assert_true(net_addr_equal(&s->u.welcome.udp[1], &u.k.config.udp_addrs[1]));
    memcpy(first, s->u.welcome.udp_key, sizeof first);
    assert_memory_not_equal(first, zero, sizeof first);
    kit_login(&u.k, 1);
    assert_memory_not_equal(first, u.k.nodes[1].udp_key, sizeof first);
    kit_hang_up(&u.k, 0);
    kit_login(&u.k, 0);
    assert_memory_not_equal(first, u.k.nodes[0].udp_key, sizeof first);
    kit_done(&u.k);
}

static void welcome_tells_of_turn(void **state)
{
    struct udp_kit u;
    uint8_t mac[SHA1_LEN];
    char want[64], node[17];
    udp_begin(&u, 2);
    u.k.config.udp = false;
    strcpy(u.k.config.turn_url, "turn:turn.example.org:3478?transport=udp");
    memcpy(u.k.config.turn_secret, "north", 5);
    u.k.config.turn_secret_len = 5;
    kit_start(&u.k);
    kit_login(&u.k, 0);
    struct signal *s = &u.k.got;
    assert_false(s->u.welcome.has_udp);
    assert_true(s->u.welcome.has_turn);
    assert_string_equal(s->u.welcome.turn_url, u.k.config.turn_url);
    assert_int_equal(s->u.welcome.turn_expires, KIT_UNIX + 12 * 3600);
    hex_put(node, bytes_of(u.k.nodes[0].id, 8));
    snprintf(want, sizeof want, "%llu:%s", KIT_UNIX + 12 * 3600, node);
    assert_string_equal(s->u.welcome.turn_user, want);
    struct bytes part = bytes_of_str(want);
    hmac_sha1(mac, bytes_of("north", 5), &part, 1);
    /* base64 with padding, against the one without: the last bits differ in their alphabet only. */
    char *p = s->u.welcome.turn_password;
    assert_int_equal(strlen(p), 28);
    assert_int_equal(p[27], '=');
    base64url_put(want, bytes_of(mac, sizeof mac));
    for (size_t i = 0; i < 27; i++)
        assert_int_equal(p[i], want[i] == '-' ? '+' : want[i] == '_' ? '/' : want[i]);
    /* New ones with each login. */
    kit_pass(&u.k, 2 * SEC);
    kit_hang_up(&u.k, 0);
    kit_login(&u.k, 0);
    assert_int_equal(u.k.got.u.welcome.turn_expires, KIT_UNIX + 12 * 3600 + 2);
    kit_done(&u.k);
}

static void without_udp_nothing_is_answered(void **state)
{
    struct udp_kit u;
    struct net_addr from = udp_addr(0);
    udp_begin(&u, 3);
    u.k.config.udp = false;
    udp_start(&u, 2);
    struct udp_relay m = bind_of(&u, 0);
    assert_int_equal(say_relay(&u, 0, &from, &m)->n, 0);
    udp_done(&u);
}

/* ---- binding ---- */

static void an_address_is_proven(void **state)
{
    struct udp_kit u;
    struct net_addr from = udp_addr(0);
    udp_begin(&u, 4);
    udp_start(&u, 2);
    struct udp_relay m = bind_of(&u, 0);
    say_relay(&u, 0, &from, &m);
    assert_int_equal(u.r.m.kind, UDP_RELAY_CHALLENGE);
    assert_true(net_addr_equal(&u.r.to, &from));
    assert_int_equal(u.r.m.index, u.k.nodes[0].relay);
    assert_memory_equal(u.r.m.nonce, m.nonce, sizeof m.nonce);
    assert_true(udp_relay_verify(&u.r.m, u.k.nodes[0].udp_key));
    struct udp_relay confirm = confirm_of(&u);
    say_relay(&u, 0, &from, &confirm);
    assert_int_equal(u.r.m.kind, UDP_RELAY_BOUND);
    assert_true(udp_relay_verify(&u.r.m, u.k.nodes[0].udp_key));
    assert_memory_equal(u.r.m.nonce, m.nonce, sizeof m.nonce);
    assert_int_equal(u.r.m.index, u.k.nodes[0].relay);
    assert_int_equal(u.r.m.lifetime_s, 120);
    assert_int_not_equal(u.r.m.token, 0);
    assert_true(net_addr_equal(&u.r.m.seen, &from));
    /* Its answer was lost: the same again. */
    uint32_t token = u.r.m.token;
    say_relay(&u, 0, &from, &confirm);
    assert_int_equal(u.r.m.token, token);
    struct hub_stats st;
    hub_stats(u.k.hub, &st);
    assert_int_equal(st.udp_bindings, 1);
    assert_int_equal(metric(&u, "warren_hub_udp_bound_total"), 1);
    /* A new BIND brings a new token. */
    udp_bind(&u, 0, from);
    assert_int_not_equal(u.tokens[0], token);
    hub_stats(u.k.hub, &st);
    assert_int_equal(st.udp_bindings, 1);
    udp_done(&u);
}

static void only_the_device_binds(void **state)
{
    struct udp_kit u;
    struct net_addr from = udp_addr(0);
    udp_begin(&u, 5);
    udp_start(&u, 2);
    /* Another's key. */
    struct udp_relay m = bind_of(&u, 0);
    assert_int_equal(say_relay(&u, 1, &from, &m)->n, 0);
    assert_int_equal(REFUSED(&u, "mac"), 1);
    m.index ^= 1;
    assert_int_equal(say_relay(&u, 0, &from, &m)->n, 0);
    assert_int_equal(REFUSED(&u, "unknown_index"), 1);
    /* A CONFIRM without a BIND, and one with another's key. */
    struct udp_relay confirm = {.kind = UDP_RELAY_CONFIRM, .index = u.k.nodes[0].relay};
    assert_int_equal(say_relay(&u, 0, &from, &confirm)->n, 0);
    assert_int_equal(REFUSED(&u, "stale"), 1);
    challenge(&u, 0, from);
    confirm = confirm_of(&u);
    assert_int_equal(say_relay(&u, 1, &from, &confirm)->n, 0);
    assert_int_equal(REFUSED(&u, "mac"), 2);
    confirm.cookie[15] ^= 1;
    assert_int_equal(say_relay(&u, 0, &from, &confirm)->n, 0);
    assert_int_equal(REFUSED(&u, "cookie"), 1);
    struct hub_stats st;
    hub_stats(u.k.hub, &st);
    assert_int_equal(st.udp_bindings, 0);
    udp_done(&u);
}

/* Whoever writes under a false source does not get the cookie, and another's does not fit. */
static void a_cookie_is_for_one_address(void **state)
{
    struct udp_kit u;
    udp_begin(&u, 6);
    udp_start(&u, 2);
    challenge(&u, 0, udp_addr(0));
    struct udp_relay m = confirm_of(&u);
    struct net_addr port = udp_addr(0), ip = udp_addr(0), right = udp_addr(0);
    port.port++;
    ip.ip[3]++;
    assert_int_equal(say_relay(&u, 0, &port, &m)->n, 0);
    assert_int_equal(say_relay(&u, 0, &ip, &m)->n, 0);
    assert_int_equal(REFUSED(&u, "cookie"), 2);
    uint8_t raw[UDP_RELAY_CONFIRM_LEN];
    assert_int_equal(udp_relay_write(raw, sizeof raw, &m, u.k.nodes[0].udp_key), sizeof raw);
    assert_int_equal(say(&u, 1, &right, raw, sizeof raw)->n, 0); /* of another socket */
    assert_int_equal(say(&u, 0, &right, raw, sizeof raw)->n, UDP_RELAY_BOUND_LEN);
    udp_done(&u);
}

/* Cookies live for 30 s at least and 60 s at most, also while the hub changes its secret. */
static void a_cookie_does_not_live_long(void **state)
{
    static const struct {
        usec_t at, age;
        bool good;
    } rows[] = {
        {1020 * SEC, 30 * SEC, true},  {1020 * SEC, 59 * SEC, true},    {1020 * SEC, 60 * SEC, false},
        {1049 * SEC, 30 * SEC, true},  {1049 * SEC, 31 * SEC, false},   {3599 * SEC, 2 * SEC, true},
        {3599 * SEC, 32 * SEC, false}, {3600 * SEC, 9999 * SEC, false}, {7190 * SEC, 30 * SEC, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct udp_kit u;
        struct net_addr from = udp_addr(0);
        udp_begin(&u, 7);
        u.k.limits.silent_s = 7200;
        u.k.limits.ping_s = 3600;
        udp_start(&u, 1);
        u.k.now = rows[i].at;
        challenge(&u, 0, from);
        struct udp_relay m = confirm_of(&u);
        u.k.now += rows[i].age;
        assert_int_equal(say_relay(&u, 0, &from, &m)->n, rows[i].good ? UDP_RELAY_BOUND_LEN : 0);
        udp_done(&u);
    }
}

static void binds_are_not_replayed(void **state)
{
    struct udp_kit u;
    struct net_addr from = udp_addr(0), thief = udp_addr(9);
    udp_begin(&u, 8);
    udp_start(&u, 2);
    struct udp_relay m = bind_of(&u, 0);
    say_relay(&u, 0, &from, &m);
    struct udp_relay first = confirm_of(&u);
    assert_int_equal(say_relay(&u, 0, &thief, &m)->n, 0);
    m.time_ms--;
    assert_int_equal(say_relay(&u, 0, &thief, &m)->n, 0);
    assert_int_equal(REFUSED(&u, "replayed"), 2);
    /* What the hub refused has not made it forget the first. */
    assert_int_equal(say_relay(&u, 0, &from, &first)->n, UDP_RELAY_BOUND_LEN);
    /* The device goes elsewhere; the old CONFIRM does not bring it back. */
    struct net_addr later = udp_addr(5);
    udp_bind(&u, 0, later);
    assert_int_equal(say_relay(&u, 0, &from, &first)->n, 0);
    assert_int_equal(REFUSED(&u, "stale"), 1);
    /* Nor do the messages of an earlier login. */
    kit_hang_up(&u.k, 0);
    uint8_t old[SIGNAL_UDP_KEY_LEN], now[SIGNAL_UDP_KEY_LEN];
    memcpy(old, u.k.nodes[0].udp_key, sizeof old);
    kit_login(&u.k, 0);
    m = bind_of(&u, 0);
    memcpy(now, u.k.nodes[0].udp_key, sizeof now);
    memcpy(u.k.nodes[0].udp_key, old, sizeof old);
    assert_int_equal(say_relay(&u, 0, &from, &m)->n, 0);
    assert_int_equal(REFUSED(&u, "mac"), 1);
    memcpy(u.k.nodes[0].udp_key, now, sizeof now);
    assert_int_equal(say_relay(&u, 0, &from, &m)->n, UDP_RELAY_CHALLENGE_LEN);
    udp_done(&u);
}

static void binds_have_a_rate(void **state)
{
    struct udp_kit u;
    struct net_addr from = udp_addr(0);
    udp_begin(&u, 9);
    udp_start(&u, 2);
    int answered = 0;
    for (int i = 0; i < 50; i++) {
        struct udp_relay m = bind_of(&u, 0);
        answered += say_relay(&u, 0, &from, &m)->n > 0;
    }
    assert_int_equal(answered, 10);
    assert_int_equal(REFUSED(&u, "rate"), 40);
    udp_bind(&u, 1, udp_addr(1)); /* others have their own */
    u.k.now += SEC;
    challenge(&u, 0, from);
    struct udp_relay m = confirm_of(&u);
    answered = 0;
    for (int i = 0; i < 50; i++)
        answered += say_relay(&u, 0, &from, &m)->n > 0;
    assert_int_equal(answered, 10);
    udp_done(&u);
}

static void an_address_has_one_device(void **state)
{
    struct udp_kit u;
    struct hub_stats st;
    udp_begin(&u, 10);
    udp_start(&u, 3);
    udp_bind(&u, 0, udp_addr(0));
    udp_bind(&u, 2, udp_addr(2));
    udp_bind(&u, 1, udp_addr(0)); /* a NAT gave the port to another */
    hub_stats(u.k.hub, &st);
    assert_int_equal(st.udp_bindings, 2);
    data(&u, 2, 0);
    assert_unbound(&u, u.k.nodes[0].relay, UDP_RELAY_PEER_UNBOUND);
    send_data(&u, udp_addr(0), u.k.nodes[2].relay, u.tokens[0]);
    assert_unbound(&u, 0, UDP_RELAY_REBIND);
    send_data(&u, udp_addr(0), u.k.nodes[2].relay, u.tokens[1]);
    assert_relayed(&u, 1, 2);
    /* The end of the one that was there before is not the end of the one that is there now. */
    kit_hang_up(&u.k, 0);
    send_data(&u, udp_addr(0), u.k.nodes[2].relay, u.tokens[1]);
    assert_relayed(&u, 1, 2);
    udp_done(&u);
}

/* ---- relaying ---- */

static void datagrams_are_relayed_in_place(void **state)
{
    struct udp_kit u;
    udp_begin(&u, 11);
    udp_start(&u, 2);
    udp_bind(&u, 0, udp_addr(0));
    udp_bind(&u, 1, udp_addr(1));
    data(&u, 0, 1);
    assert_relayed(&u, 0, 1);
    assert_true(u.r.in_place);
    assert_int_equal(u.r.m.token, 0);
    assert_int_equal(u.r.m.datagram.n, DATAGRAM);
    assert_memory_equal(u.r.m.datagram.p, ((uint8_t[]){4, 1, 2, 3, 0}), 5);
    data(&u, 1, 0);
    assert_relayed(&u, 1, 0);
    struct hub_stats st;
    hub_stats(u.k.hub, &st);
    assert_int_equal(st.udp_frames, 2);
    assert_int_equal(st.udp_bytes, 2 * (UDP_RELAY_HEADER_LEN + DATAGRAM));
    assert_int_equal(metric(&u, "warren_hub_udp_frames_total"), 2);
    udp_done(&u);
}

static void a_token_is_good_at_its_address_only(void **state)
{
    struct udp_kit u;
    udp_begin(&u, 12);
    udp_start(&u, 2);
    udp_bind(&u, 0, udp_addr(0));
    udp_bind(&u, 1, udp_addr(1));
    uint32_t peer = u.k.nodes[1].relay;
    send_data(&u, udp_addr(7), peer, u.tokens[0]); /* stolen */
    assert_unbound(&u, 0, UDP_RELAY_REBIND);
    assert_int_equal(REFUSED(&u, "no_binding"), 1);
    send_data(&u, udp_addr(1), u.k.nodes[0].relay, u.tokens[0]); /* by another device */
    assert_unbound(&u, 0, UDP_RELAY_REBIND);
    send_data(&u, udp_addr(0), peer, u.tokens[0] ^ 1); /* guessed */
    assert_unbound(&u, 0, UDP_RELAY_REBIND);
    send_data(&u, udp_addr(0), peer, 0);
    assert_unbound(&u, 0, UDP_RELAY_REBIND);
    assert_int_equal(REFUSED(&u, "token"), 3);
    uint8_t raw[UDP_RELAY_HEADER_LEN] = {0};
    struct net_addr from = udp_addr(0);
    udp_relay_header(raw, peer, u.tokens[0]);
    say(&u, 1, &from, raw, sizeof raw); /* at another socket of the hub */
    assert_unbound(&u, 0, UDP_RELAY_REBIND);
    data(&u, 0, 1);
    assert_relayed(&u, 0, 1);
    udp_done(&u);
}

static void a_device_moves(void **state)
{
    struct udp_kit u;
    udp_begin(&u, 13);
    udp_start(&u, 3);
    udp_bind(&u, 0, udp_addr(0));
    udp_bind(&u, 1, udp_addr(1));
    uint32_t old = u.tokens[0];
    udp_bind(&u, 0, udp_addr(6));
    send_data(&u, udp_addr(0), u.k.nodes[1].relay, old);
    assert_unbound(&u, 0, UDP_RELAY_REBIND);
    data(&u, 1, 0);
    struct net_addr now = udp_addr(6);
    assert_int_equal(u.r.n, UDP_RELAY_HEADER_LEN + DATAGRAM);
    assert_true(net_addr_equal(&u.r.to, &now));
    udp_done(&u);
}

static void bindings_end_in_silence(void **state)
{
    struct udp_kit u;
    struct hub_stats st;
    udp_begin(&u, 14);
    u.k.limits.silent_s = 7200;
    udp_start(&u, 2);
    udp_bind(&u, 0, udp_addr(0));
    udp_bind(&u, 1, udp_addr(1));
    u.k.now += 119 * SEC;
    assert_int_equal(keep(&u, 0)->n, UDP_RELAY_SMALL_LEN);
    assert_int_equal(u.r.m.kind, UDP_RELAY_KEPT);
    assert_int_equal(u.r.m.index, u.k.nodes[0].relay);
    assert_int_equal(u.r.m.token, u.tokens[0]);
    data(&u, 0, 1);
    assert_relayed(&u, 0, 1);
    u.k.now += SEC; /* being sent to keeps nobody */
    data(&u, 0, 1);
    assert_unbound(&u, u.k.nodes[1].relay, UDP_RELAY_PEER_UNBOUND);
    assert_int_equal(metric(&u, "warren_hub_udp_expired_total"), 1);
    send_data(&u, udp_addr(1), u.k.nodes[0].relay, u.tokens[1]);
    assert_unbound(&u, 0, UDP_RELAY_REBIND);
    u.k.now += 119 * SEC; /* DATA has kept node 0 */
    udp_bind(&u, 1, udp_addr(1));
    data(&u, 1, 0);
    assert_relayed(&u, 1, 0);
    u.k.now += 2 * SEC;
    assert_int_equal(keep(&u, 0)->n, UDP_RELAY_SMALL_LEN);
    assert_unbound(&u, 0, UDP_RELAY_REBIND);
    /* Nobody asks: the hub forgets by itself. */
    hub_stats(u.k.hub, &st);
    assert_int_equal(st.udp_bindings, 1);
    hub_tick(u.k.hub, u.k.now);
    kit_pass(&u.k, 200 * SEC);
    hub_stats(u.k.hub, &st);
    assert_int_equal(st.udp_bindings, 0);
    udp_done(&u);
}

static void keep_names_its_own_index(void **state)
{
    struct udp_kit u;
    udp_begin(&u, 15);
    udp_start(&u, 2);
    udp_bind(&u, 0, udp_addr(0));
    struct udp_relay m = {.kind = UDP_RELAY_KEEP, .index = u.k.nodes[1].relay, .token = u.tokens[0]};
    struct net_addr from = udp_addr(0);
    assert_int_equal(say_relay(&u, 0, &from, &m)->n, 0);
    assert_int_equal(REFUSED(&u, "token"), 1);
    udp_done(&u);
}

static void only_members_of_one_party(void **state)
{
    struct udp_kit u;
    struct signal leave = {.type = SIGNAL_LEAVE};
    udp_begin(&u, 16);
    udp_start(&u, 3);
    kit_login(&u.k, 4); /* no member of anything */
    for (int i = 0; i < 5; i++)
        if (i != 3)
            udp_bind(&u, i, udp_addr(i));
    data(&u, 0, 4);
    assert_unbound(&u, u.k.nodes[4].relay, UDP_RELAY_PEER_GONE);
    data(&u, 4, 0);
    assert_unbound(&u, u.k.nodes[0].relay, UDP_RELAY_PEER_GONE);
    data(&u, 0, 0);
    assert_unbound(&u, u.k.nodes[0].relay, UDP_RELAY_PEER_GONE);
    assert_int_equal(REFUSED(&u, "peer_gone"), 3);
    /* Whoever leaves, or is removed, is out of reach at once, both ways. */
    memcpy(leave.u.leave.party, party_id(u.p), PARTY_ID_LEN);
    data(&u, 1, 2);
    assert_relayed(&u, 1, 2);
    kit_say(&u.k, 1, &leave);
    data(&u, 1, 2);
    assert_unbound(&u, u.k.nodes[2].relay, UDP_RELAY_PEER_GONE);
    data(&u, 2, 1);
    assert_unbound(&u, u.k.nodes[1].relay, UDP_RELAY_PEER_GONE);
    struct buf b;
    struct party_author owner = kit_author(&u.k, 0);
    buf_init(&b, ENTRY_MAX);
    data(&u, 2, 0);
    assert_relayed(&u, 2, 0);
    assert_int_equal(party_make_remove(&b, u.p, &owner, u.k.nodes[2].id), PARTY_OK);
    kit_forget_all(&u.k);
    kit_append(&u.k, 0, u.p, &b);
    buf_done(&b);
    data(&u, 2, 0);
    assert_unbound(&u, u.k.nodes[0].relay, UDP_RELAY_PEER_GONE);
    data(&u, 0, 2);
    assert_unbound(&u, u.k.nodes[2].relay, UDP_RELAY_PEER_GONE);
    udp_done(&u);
}

/* A binding is of one connection: an index that comes again has nothing of the one before. */
static void bindings_die_with_the_connection(void **state)
{
    struct udp_kit u;
    struct hub_stats st;
    udp_begin(&u, 17);
    udp_start(&u, 2);
    udp_bind(&u, 0, udp_addr(0));
    udp_bind(&u, 1, udp_addr(1));
    uint32_t index = u.k.nodes[1].relay;
    kit_hang_up(&u.k, 1);
    hub_stats(u.k.hub, &st);
    assert_int_equal(st.udp_bindings, 1);
    data(&u, 0, 1);
    assert_unbound(&u, index, UDP_RELAY_PEER_GONE);
    send_data(&u, udp_addr(1), u.k.nodes[0].relay, u.tokens[1]);
    assert_unbound(&u, 0, UDP_RELAY_REBIND);
    kit_login(&u.k, 1);
    kit_join(&u.k, 1, u.p);
    u.k.now += SEC;
    data(&u, 0, 1);
    assert_unbound(&u, u.k.nodes[1].relay, UDP_RELAY_PEER_UNBOUND);
    send_data(&u, udp_addr(1), u.k.nodes[0].relay, u.tokens[1]);
    assert_unbound(&u, 0, UDP_RELAY_REBIND);
    udp_bind(&u, 1, udp_addr(1));
    data(&u, 0, 1);
    assert_relayed(&u, 0, 1);
    /* The newer connection of a node ends the older one's. */
    struct kit_node twin = u.k.nodes[1];
    kit_forget_all(&u.k);
    u.k.nodes[1].conn = 0;
    kit_login(&u.k, 1);
    hub_stats(u.k.hub, &st);
    assert_int_equal(st.udp_bindings, 1);
    assert_int_not_equal(twin.relay, u.k.nodes[1].relay);
    hub_shutdown(u.k.hub, u.k.now);
    hub_stats(u.k.hub, &st);
    assert_int_equal(st.udp_bindings, 0);
    data(&u, 0, 1);
    assert_int_equal(u.r.n, 0);
    udp_done(&u);
}

static void notices_have_a_rate(void **state)
{
    struct udp_kit u;
    int told = 0;
    udp_begin(&u, 18);
    udp_start(&u, 2);
    udp_bind(&u, 0, udp_addr(0));
    for (int i = 0; i < 100; i++)
        told += data(&u, 0, 1)->n > 0;
    assert_int_equal(told, 1); /* per peer */
    for (uint32_t i = 0; i < 100; i++)
        told += send_data(&u, udp_addr(0), 1000 + i, u.tokens[0])->n > 0;
    assert_int_equal(told, 10); /* per sender */
    u.k.now += 2 * SEC;
    assert_int_equal(data(&u, 0, 1)->n, UDP_RELAY_SMALL_LEN);
    /* Strangers, by address; a whole /64 is one. */
    told = 0;
    for (uint16_t i = 0; i < 100; i++)
        told += send_data(&u, net_addr4(0xcb007142, (uint16_t)(1000 + i)), 5, 5)->n > 0;
    assert_int_equal(told, 10);
    told = 0;
    for (uint8_t i = 0; i < 100; i++) {
        uint8_t ip[16] = {0x20, 1, 0xd, 0xb8, [15] = i};
        told += send_data(&u, net_addr6(ip, 1000), 5, 5)->n > 0;
    }
    assert_int_equal(told, 10);
    assert_int_equal(metric(&u, "warren_hub_udp_unbound_total"), 11 + 20);
    udp_done(&u);
}

static void the_quota_is_one_for_both_relays(void **state)
{
    struct udp_kit u;
    uint8_t frame[RELAY_HEADER_LEN + RELAY_PAYLOAD_MAX] = {0};
    udp_begin(&u, 19);
    u.k.limits.relay_bytes_per_s = 1000;
    udp_start(&u, 2);
    udp_bind(&u, 0, udp_addr(0));
    udp_bind(&u, 1, udp_addr(1));
    int relayed = 0, n = UDP_RELAY_HEADER_LEN + DATAGRAM;
    size_t burst = 2 * 1000 + RELAY_MESSAGE_MAX;
    for (int i = 0; i < 5000; i++)
        relayed += data(&u, 0, 1)->n > 0;
    assert_int_equal(relayed, burst / (size_t)n);
    assert_int_equal(REFUSED(&u, "sender_quota"), 5000 - relayed);
    kit_expect_error(&u.k, 0, "rate_limited");
    kit_expect_nothing(&u.k, 0);
    /* What UDP has used up is not there for the WebSocket. */
    relay_header_write(frame, RELAY_DATA, u.k.nodes[1].relay, 1000);
    kit_forget_all(&u.k);
    hub_binary(u.k.hub, u.k.nodes[0].conn, bytes_of(frame, RELAY_HEADER_LEN + 1000), u.k.now);
    kit_pump(&u.k);
    kit_expect_nothing(&u.k, 1);
    data(&u, 1, 0); /* the other has its own */
    assert_relayed(&u, 1, 0);
    udp_done(&u);
}

/* ---- strangers ---- */

/* Whatever somebody sends under a false source: no more comes there than was sent (say() checks each), and
 * nothing to anybody else. */
static void strangers_are_no_use_to_each_other(void **state)
{
    struct udp_kit u;
    struct net_addr victim = net_addr4(0xc6336401, 53);
    uint8_t raw[1600];
    size_t in = 0, out = 0;
    udp_begin(&u, 20);
    udp_start(&u, 2);
    udp_bind(&u, 0, udp_addr(0));
    for (int i = 0; i < 20000; i++) {
        size_t n = i % 3 == 0 ? (size_t)(i % 1600) : UDP_RELAY_SMALL_LEN + (size_t)(i % 110);
        rng_fill(&u.k.rng, raw, n);
        if (i % 2 == 0 && n >= 12) {
            uint32_t index = u.k.nodes[i / 2 % 3].relay;
            udp_relay_header(raw, index, u.tokens[0]);
            raw[1] = (uint8_t)(i / 6 % 10);
        }
        say(&u, (uint32_t)i % 5, &victim, raw, n);
        assert_true(u.r.n == 0 || net_addr_equal(&u.r.to, &victim));
        in += n;
        out += u.r.n;
    }
    assert_true(out <= in);
    assert_true(out > 0); /* some were told to bind */
    /* From where nobody can be. */
    static const struct net_addr nobody[] = {{0},
                                             {.family = 4, .ip = {203, 0, 113, 1}, .port = 0},
                                             {.family = 4, .ip = {255, 255, 255, 255}, .port = 9},
                                             {.family = 4, .ip = {224, 0, 0, 251}, .port = 5353},
                                             {.family = 6, .ip = {0xff, 2}, .port = 9}};
    udp_relay_header(raw, 1, 1);
    for (size_t i = 0; i < sizeof nobody / sizeof *nobody; i++)
        assert_int_equal(say(&u, 0, &nobody[i], raw, 12)->n, 0);
    udp_done(&u);
}

static size_t stun_request(uint8_t *out, size_t cap, uint32_t change, size_t padding)
{
    static const uint8_t zeros[256];
    struct stun_writer w;
    stun_begin(&w, out, cap, STUN_REQUEST, STUN_BINDING, (uint8_t[STUN_TXID_LEN]){1, 2, 3});
    if (change)
        stun_put_u32(&w, STUN_ATTR_CHANGE_REQUEST, change);
    if (padding)
        stun_put(&w, STUN_ATTR_SOFTWARE, bytes_of(zeros, padding));
    return stun_end(&w).n;
}

static void stun_is_answered(void **state)
{
    struct udp_kit u;
    struct stun_message m;
    struct hub_stats st;
    uint8_t raw[512];
    struct net_addr mapped = {.family = 6, .ip = {[10] = 0xff, 0xff, 203, 0, 113, 5}, .port = 4005},
                    plain = mapped;
    udp_begin(&u, 21);
    for (uint32_t i = 0; i < 2; i++)
        u.k.config.udp_endpoints[i] = net_addr4(0xc0000201, (uint16_t)(3478 + i));
    udp_start(&u, 1);
    net_addr_unmap(&plain);
    size_t n = stun_request(raw, sizeof raw, 0, 60);
    struct hub_udp_out out;
    hub_udp(u.k.hub, 0, &mapped, raw, n, u.k.now);
    assert_true(hub_udp_next(u.k.hub, &out));
    assert_true(out.n <= n);
    assert_int_equal(out.socket, 0);
    assert_true(net_addr_equal(&out.to, &plain));
    assert_int_equal(stun_read(&m, bytes_of(out.p, out.n)), 0);
    assert_int_equal(m.class, STUN_SUCCESS);
    assert_true(net_addr_equal(&m.mapped, &plain));
    assert_true(net_addr_equal(&m.other, &u.k.config.udp_endpoints[1]));
    /* From the other port, where that is asked for. */
    n = stun_request(raw, sizeof raw, STUN_CHANGE_PORT, 60);
    say(&u, 0, &plain, raw, n);
    assert_int_equal(u.r.socket, 1);
    assert_int_equal(stun_read(&m, bytes_of(u.r.bytes, u.r.n)), 0);
    assert_int_equal(m.class, STUN_SUCCESS);
    hub_stats(u.k.hub, &st);
    assert_int_equal(st.stun_answered, 2);
    assert_int_equal(metric(&u, "warren_hub_stun_total{verdict=\"served\"}"), 2);
    /* As often as the limit says, and bare requests only as far as they pay for themselves. */
    int answered = 0;
    n = stun_request(raw, sizeof raw, 0, 60);
    for (int i = 0; i < 1000; i++)
        answered += say(&u, 0, &plain, raw, n)->n > 0;
    assert_int_equal(answered, 198);
    udp_done(&u);
}

/* At a wildcard socket the hub tells the address that was asked, to whom can see it. */
static void stun_tells_the_local_address_where_it_helps(void **state)
{
    static const struct {
        uint32_t from, local;
        bool told;
    } rows[] = {
        {0xcb007105, 0xc6336407, true},  /* both public */
        {0xcb007105, 0x0a000001, false}, /* the hub is behind a NAT of its own */
        {0x0a000009, 0x0a000001, true},  /* both in there */
        {0x0a000009, 0, false},
    };
    struct udp_kit u;
    udp_begin(&u, 22);
    u.k.config.udp_endpoints[0] = net_addr4(0, 3478);
    u.k.config.udp_endpoints[1] = net_addr4(0, 3479);
    udp_start(&u, 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t raw[512];
        struct stun_message m;
        struct hub_udp_out out;
        struct net_addr other = net_addr4(rows[i].local, 3479);
        struct hub_udp_in in = {.from = net_addr4(rows[i].from, 99), .p = raw};
        if (rows[i].local)
            in.local = net_addr4(rows[i].local, 3478);
        in.n = stun_request(raw, sizeof raw, 0, 60);
        hub_udp_input(u.k.hub, &in, u.k.now);
        assert_true(hub_udp_next(u.k.hub, &out));
        assert_int_equal(stun_read(&m, bytes_of(out.p, out.n)), 0);
        assert_int_equal(m.other.family, rows[i].told ? 4 : 0);
        if (rows[i].told)
            assert_true(net_addr_equal(&m.other, &other));
    }
    udp_done(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(welcome_tells_of_udp),
        cmocka_unit_test(welcome_tells_of_turn),
        cmocka_unit_test(without_udp_nothing_is_answered),
        cmocka_unit_test(an_address_is_proven),
        cmocka_unit_test(only_the_device_binds),
        cmocka_unit_test(a_cookie_is_for_one_address),
        cmocka_unit_test(a_cookie_does_not_live_long),
        cmocka_unit_test(binds_are_not_replayed),
        cmocka_unit_test(binds_have_a_rate),
        cmocka_unit_test(an_address_has_one_device),
        cmocka_unit_test(datagrams_are_relayed_in_place),
        cmocka_unit_test(a_token_is_good_at_its_address_only),
        cmocka_unit_test(a_device_moves),
        cmocka_unit_test(bindings_end_in_silence),
        cmocka_unit_test(keep_names_its_own_index),
        cmocka_unit_test(only_members_of_one_party),
        cmocka_unit_test(bindings_die_with_the_connection),
        cmocka_unit_test(notices_have_a_rate),
        cmocka_unit_test(the_quota_is_one_for_both_relays),
        cmocka_unit_test(strangers_are_no_use_to_each_other),
        cmocka_unit_test(stun_is_answered),
        cmocka_unit_test(stun_tells_the_local_address_where_it_helps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
