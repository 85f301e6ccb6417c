/* Sends what libwebsockets has to say to our log at level debug. For the users of the library in this folder
 * and in hub/. */
#ifndef WARREN_IO_LWS_LOG_H
#define WARREN_IO_LWS_LOG_H

void lws_log_setup(void);

#endif
