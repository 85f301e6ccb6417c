/* What the stores share. */
#ifndef WARREN_HUB_STORE_INT_H
#define WARREN_HUB_STORE_INT_H

#include "hub/store.h"

/* Who made a party: read from its first entry, which the hub has judged; zeros where it is too short to say.
 */
void store_genesis_author(uint8_t author[NODE_ID_LEN], struct bytes genesis);

#endif
