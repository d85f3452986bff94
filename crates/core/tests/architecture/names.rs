//! Type names that mean more than one thing. Shorten this list, do not lengthen it.

/// How often a name is declared in the product code, and the names.
pub const SEVERAL: [(usize, &str); 5] = [
    (
        2,
        "Access Account Api Apt Aside Backup Boot Change Client Cloudflare Compose Config Container \
         Containers Database Defaults Digests Directive Disk Document Error Health Held Here History \
         Homeserver Image Incoming Index Item Limit Limits Listed Listener Lock Made Memory Missing \
         Module Mount Named Network Newest News Notify Npm Origin Page Part Password Piece Pieces \
         Policy Ports Progress Proposal Rate Reader Remembered Remote Reply Repository Resource Roles \
         Rule Running Said Schedule Secret Seen Session Snapshot State Stop Storage Tail Target Timer Timezone \
         Trial Trouble Tunnel Update Updates User UserId Value Verdict Version Wanted Watch Way Where \
         Words Wrong",
    ),
    (
        3,
        "Act Address Asked Call Certificate Choice Cluster Edge Ended Guest Host Line Manifest Method \
         Name Outcome Packages Plan Report Request Room Row Settings Source Standing Status \
         Step Table Work",
    ),
    (4, "Entry Kept Kind Place Program Record Section Setting"),
    (5, "Found"),
    (6, "Answer Question"),
];

/// The files outside `core/stack` that name a service; ARCHITECTURE.md has the reasons. Shorten
/// this list, do not lengthen it.
pub const NAMING: [&str; 10] = [
    "core/aside.rs",
    "core/fact/inside.rs",
    "core/fact/usage.rs",
    "core/service.rs",
    "host/apply/cluster.rs",
    "host/apply/podman.rs",
    "host/apply/roles.rs",
    "host/postgres/session.rs",
    "host/synapse/mod.rs",
    "images/recipe.rs",
];
