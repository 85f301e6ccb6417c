/* pkg-config: nice gio-2.0 */
/* libnice as a peer of ours: the same lines as ice_peer.c.
 *
 *     nice_peer [--controlling] [--trickle] [--regular] [--consent] ADDRESS... */
#include <gio/gio.h>
#include <glib.h>
#include <nice/agent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peer {
    NiceAgent *agent;
    guint stream;
    gboolean trickle;
    GSList *waiting; /* candidates kept until "done", where not trickled */
    GMainLoop *loop;
};

static void say_credentials(struct peer *p)
{
    gchar *ufrag = NULL, *pwd = NULL;
    nice_agent_get_local_credentials(p->agent, p->stream, &ufrag, &pwd);
    printf("credentials %s %s\n", ufrag, pwd);
    fflush(stdout);
    g_free(ufrag);
    g_free(pwd);
}

static void say_candidate(struct peer *p, NiceCandidate *c)
{
    gchar *text = nice_agent_generate_local_candidate_sdp(p->agent, c);
    printf("candidate %s\n", g_str_has_prefix(text, "a=") ? text + 2 : text);
    fflush(stdout);
    g_free(text);
}

static void say_all(struct peer *p)
{
    GSList *list = nice_agent_get_local_candidates(p->agent, p->stream, 1);
    for (GSList *l = list; l; l = l->next)
        say_candidate(p, l->data);
    g_slist_free_full(list, (GDestroyNotify)nice_candidate_free);
    printf("done\n");
    fflush(stdout);
}

static void on_candidate(NiceAgent *agent, NiceCandidate *c, gpointer data)
{
    struct peer *p = data;
    (void)agent;
    if (p->trickle)
        say_candidate(p, c);
}

static void on_gathered(NiceAgent *agent, guint stream, gpointer data)
{
    struct peer *p = data;
    (void)agent;
    (void)stream;
    if (!p->trickle) {
        say_credentials(p);
        say_all(p);
        return;
    }
    printf("done\n");
    fflush(stdout);
}

static void on_state(NiceAgent *agent, guint stream, guint component, guint state, gpointer data)
{
    (void)agent;
    (void)stream;
    (void)component;
    (void)data;
    printf("state %s\n", nice_component_state_to_string((NiceComponentState)state));
    fflush(stdout);
}

static void on_pair(NiceAgent *agent, guint stream, guint component, NiceCandidate *l, NiceCandidate *r,
                    gpointer data)
{
    char local[NICE_ADDRESS_STRING_LEN], remote[NICE_ADDRESS_STRING_LEN];
    (void)agent;
    (void)stream;
    (void)component;
    (void)data;
    nice_address_to_string(&l->addr, local);
    nice_address_to_string(&r->addr, remote);
    printf("event selected %s:%u > %s:%u\n", local, nice_address_get_port(&l->addr), remote,
           nice_address_get_port(&r->addr));
    fflush(stdout);
}

static void on_data(NiceAgent *agent, guint stream, guint component, guint len, gchar *buf, gpointer data)
{
    (void)agent;
    (void)stream;
    (void)component;
    (void)data;
    printf("received %.*s\n", (int)len, buf);
    fflush(stdout);
}

static void take_candidate(struct peer *p, const char *text)
{
    NiceCandidate *c = nice_agent_parse_remote_candidate_sdp(p->agent, p->stream, text);
    if (!c) {
        fprintf(stderr, "nice_peer: cannot read: %s\n", text);
        return;
    }
    p->waiting = g_slist_append(p->waiting, c);
    if (!p->trickle)
        return;
    nice_agent_set_remote_candidates(p->agent, p->stream, 1, p->waiting);
    g_slist_free_full(g_steal_pointer(&p->waiting), (GDestroyNotify)nice_candidate_free);
}

static void take_done(struct peer *p)
{
    if (p->waiting)
        nice_agent_set_remote_candidates(p->agent, p->stream, 1, p->waiting);
    g_slist_free_full(g_steal_pointer(&p->waiting), (GDestroyNotify)nice_candidate_free);
    if (p->trickle)
        nice_agent_peer_candidate_gathering_done(p->agent, p->stream);
}

static void take_line(struct peer *p, gchar *line)
{
    gchar **words = g_strsplit(line, " ", 3);
    const char *rest = strchr(line, ' ');
    rest = rest ? rest + 1 : "";
    if (!g_strcmp0(words[0], "credentials") && words[1] && words[2]) {
        nice_agent_set_remote_credentials(p->agent, p->stream, words[1], words[2]);
    } else if (!g_strcmp0(words[0], "candidate")) {
        gchar *sdp = g_strconcat("a=", rest, NULL);
        take_candidate(p, sdp);
        g_free(sdp);
    } else if (!g_strcmp0(words[0], "done")) {
        take_done(p);
    } else if (!g_strcmp0(words[0], "restart")) {
        nice_agent_restart(p->agent);
        say_credentials(p);
        say_all(p);
    } else if (!g_strcmp0(words[0], "send")) {
        nice_agent_send(p->agent, p->stream, 1, (guint)strlen(rest), rest);
    } else if (!g_strcmp0(words[0], "quit")) {
        g_main_loop_quit(p->loop);
    }
    g_strfreev(words);
}

static gboolean on_line(GIOChannel *in, GIOCondition condition, gpointer data)
{
    struct peer *p = data;
    gchar *line = NULL;
    (void)condition;
    if (g_io_channel_read_line(in, &line, NULL, NULL, NULL) != G_IO_STATUS_NORMAL) {
        g_main_loop_quit(p->loop);
        return FALSE;
    }
    take_line(p, g_strchomp(line));
    g_free(line);
    return TRUE;
}

int main(int argc, char **argv)
{
    struct peer p = {0};
    gboolean controlling = FALSE;
    NiceAgentOption flags = NICE_AGENT_OPTION_NONE;
    for (int i = 1; i < argc; i++) {
        controlling |= !strcmp(argv[i], "--controlling");
        if (!strcmp(argv[i], "--trickle"))
            flags |= NICE_AGENT_OPTION_ICE_TRICKLE;
        if (!strcmp(argv[i], "--regular"))
            flags |= NICE_AGENT_OPTION_REGULAR_NOMINATION;
        if (!strcmp(argv[i], "--consent"))
            flags |= NICE_AGENT_OPTION_CONSENT_FRESHNESS;
    }
    p.trickle = (flags & NICE_AGENT_OPTION_ICE_TRICKLE) != 0;
    p.loop = g_main_loop_new(NULL, FALSE);
    p.agent = nice_agent_new_full(g_main_loop_get_context(p.loop), NICE_COMPATIBILITY_RFC5245, flags);
    g_object_set(p.agent, "controlling-mode", controlling, "upnp", FALSE, "ice-tcp", FALSE, NULL);
    for (int i = 1; i < argc; i++) {
        NiceAddress a;
        if (argv[i][0] != '-' && nice_address_set_from_string(&a, argv[i]))
            nice_agent_add_local_address(p.agent, &a);
    }
    g_signal_connect(p.agent, "candidate-gathering-done", G_CALLBACK(on_gathered), &p);
    g_signal_connect(p.agent, "component-state-changed", G_CALLBACK(on_state), &p);
    g_signal_connect(p.agent, "new-selected-pair-full", G_CALLBACK(on_pair), &p);
    g_signal_connect(p.agent, "new-candidate-full", G_CALLBACK(on_candidate), &p);
    p.stream = nice_agent_add_stream(p.agent, 1);
    nice_agent_set_stream_name(p.agent, p.stream, "application");
    nice_agent_attach_recv(p.agent, p.stream, 1, g_main_loop_get_context(p.loop), on_data, &p);
    if (p.trickle)
        say_credentials(&p);
    GIOChannel *in = g_io_channel_unix_new(0);
    g_io_add_watch(in, G_IO_IN | G_IO_HUP, on_line, &p);
    if (!nice_agent_gather_candidates(p.agent, p.stream))
        return 2;
    g_main_loop_run(p.loop);
    g_io_channel_unref(in);
    g_object_unref(p.agent);
    g_main_loop_unref(p.loop);
    return 0;
}
