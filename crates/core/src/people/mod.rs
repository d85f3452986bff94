//! People with an account, and tokens to invite more: what can be asked of the
//! server about them, its answers, and the rules that are ours.
//!
//! A [`Call`] travels to the program in the guest, which alone speaks with
//! Synapse; an [`Answer`] comes back. Both are closed sets, so that nothing
//! else can be asked for through the connection.

mod account;
mod common;
mod name;

pub use account::{Account, Device, Devices, Invitation, Refused, State, may_change, may_lose_admin};
pub use name::{Expiry, InviteToken, Millis, Password, Person, SERVICE_ACCOUNT, UserId, Uses, is_reserved};

use serde::{Deserialize, Serialize};

use crate::name::Localpart;

/// Something that is asked of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Call {
    /// Make an account.
    Add(NewUser),
    /// All accounts.
    List {
        /// Only those whose name has this in it.
        part: Option<String>,
        /// Those that were deactivated too.
        deactivated: bool,
    },
    /// One account.
    Show(UserId),
    /// Give an account another password.
    SetPassword {
        /// Whose.
        user: UserId,
        /// The new one.
        password: Password,
        /// Whether their devices stay logged in.
        keep_devices: bool,
    },
    /// Say who may administer the server.
    SetAdmin {
        /// Who.
        user: UserId,
        /// Whether they may.
        admin: bool,
    },
    /// Keep somebody out for a while, or let them in again.
    SetLocked {
        /// Who.
        user: UserId,
        /// Whether they are kept out.
        locked: bool,
    },
    /// End an account for good.
    Deactivate {
        /// Whose.
        user: UserId,
        /// Whether their messages are hidden from people who join later.
        erase: bool,
    },
    /// The devices of an account.
    Devices(UserId),
    /// Log devices out.
    LogOut {
        /// Whose.
        user: UserId,
        /// Which; all when empty.
        devices: Vec<String>,
    },
    /// All invite tokens.
    Tokens,
    /// One invite token.
    ShowToken(InviteToken),
    /// Make an invite token.
    NewToken {
        /// The word; random when absent.
        token: Option<InviteToken>,
        /// How many accounts can be made with it.
        uses: Uses,
        /// When it ends.
        expires: Expiry,
    },
    /// Change an invite token; what is absent stays.
    SetToken {
        /// Which.
        token: InviteToken,
        /// How many accounts can be made with it, in all.
        uses: Option<Uses>,
        /// When it ends.
        expires: Option<Expiry>,
    },
    /// Take an invite token back.
    DeleteToken(InviteToken),
    /// Say something in a room, in the name of the program's own account.
    Say(Message),
    /// The program's own account, if there is one.
    ServiceAccount,
    /// End the program's own account.
    RemoveServiceAccount,
}

/// What the program's own account says in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The room's id or an alias.
    pub room: String,
    /// The text.
    pub text: String,
    /// Whether people's devices are to ring.
    pub loud: bool,
}

/// A user to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewUser {
    /// Name without server.
    pub localpart: Localpart,
    /// The password.
    pub password: Password,
    /// Whether they may administer the server.
    pub admin: bool,
    /// Name that others see.
    pub display_name: Option<String>,
}

/// What the server says to a [`Call`]; the variant follows from the call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// It is so now.
    Done,
    /// It was so already.
    Already,
    /// Accounts.
    Accounts(Vec<Account>),
    /// One account.
    Account(Box<Account>),
    /// To [`Call::ServiceAccount`].
    Service(Option<UserId>),
    /// Devices; to [`Call::LogOut`], those that were logged out.
    Devices(Vec<Device>),
    /// Invite tokens.
    Invitations(Vec<Invitation>),
    /// One invite token.
    Invitation(Invitation),
}
