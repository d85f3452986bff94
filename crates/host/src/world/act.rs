//! Acting on a site: each act on the side, or the sides, where it belongs.

use std::fs::File;

use matrix_podman_core::{
    disk,
    effect::{Effect, ImageSource, Local, TwoSided},
    fact::Side,
    observed::Observed,
    resource,
    service::Service,
    size::Bytes,
};

use super::World;
use crate::{
    apply::{self, proxmox},
    failure::{Doing, Failure},
    guest::wire::Request,
    progress::{Saying, Sink},
    secret,
};

impl World {
    /// Does one act, on the side where it belongs.
    pub fn apply(&self, effect: &Effect, sink: &Sink) -> Result<(), Failure> {
        let done = self.carry_out(effect, sink);
        // Even what failed may have changed something.
        if effect.changes_images() {
            self.forget_images();
        }
        done
    }

    fn carry_out(&self, effect: &Effect, sink: &Sink) -> Result<(), Failure> {
        match effect {
            Effect::Here(act) => match self.keeper.apply(self, act, sink) {
                Some(done) => done,
                None if act.side() == Side::Machine => apply::apply(act, sink),
                None => self.in_guest(act, sink),
            },
            Effect::Both(act) => self.on_both(act, sink),
            Effect::Edge(act) => self.edge.act(act, sink),
        }
    }

    fn on_both(&self, act: &TwoSided, sink: &Sink) -> Result<(), Failure> {
        match act {
            TwoSided::ObtainImage { service, from, tag } => self.obtain(*service, from, tag, sink),
            TwoSided::TakeSecret { secret, from } => {
                let mut file = secret::given_for(from.as_str().as_ref(), *secret)?;
                match self.guest()? {
                    Some(guest) => guest.send(&Request::PutSecret(*secret), &mut file, None, sink),
                    None => secret::put(*secret, file),
                }
            }
            TwoSided::PushProgram { .. } => self.keeper.push_program(self, sink),
            TwoSided::CreateContainer(new) => {
                let done = proxmox::create(new, self.keeper.root_password(), sink);
                self.keeper.forget_guests();
                done
            }
            TwoSided::GrowDisk { container, volume, size } => {
                let inside = || self.file_system(volume);
                let done = proxmox::grow(container, volume, *size, &inside, sink);
                self.keeper.forget_guests();
                done
            }
        }
    }

    /// The size of the file system on a disk of a container, as the guest sees it: when the
    /// guest can be asked, and it is one that fills a disk of its own.
    fn file_system(&self, volume: &str) -> Option<Bytes> {
        let seen = self.look(&mut Observed::default(), |seen| resource::file_system_size(seen, volume));
        seen.ok()?.ok()?
    }

    /// A failure of something that was done on one side, with what a full disk has to
    /// do with it: as the system or a program said, or as is measured now.
    pub fn about_room(&self, failure: Failure, side: Side) -> Failure {
        let (whose, places) = match side {
            Side::Machine => ("this machine's", disk::places_on_machine()),
            Side::Guest => ("the guest's", disk::places_in_guest()),
            Side::Edge => return failure,
        };
        if failure.is_full_disk() {
            return failure.about_full_disk(whose);
        }
        let tight = self.look(&mut Observed::default(), |seen| {
            let rooms: Vec<_> = places.iter().map(|path| (path, seen.room(side, path))).collect();
            rooms
                .into_iter()
                .find_map(|(path, room)| Some((path.clone(), room.ok()??)).filter(|(_, r)| disk::is_full(*r)))
        });
        let Ok(Some((path, room))) = tight else { return failure };
        let room = format!("{whose} disk has hardly any room in {path} ({}): make room", disk::left(room));
        match failure.hint.clone() {
            Some(hint) => failure.hint(format!("{room}; {hint}")),
            None => failure.hint(room),
        }
    }

    /// Has the disks of both sides hold all that was done: only then is it done.
    pub fn flush(&self) -> Result<(), Failure> {
        apply::apply(&Local::Flush { side: Side::Machine }, &|_| {})?;
        self.keeper.flush_guest(self)
    }

    pub(super) fn in_guest(&self, act: &Local, sink: &Sink) -> Result<(), Failure> {
        match self.guest()? {
            Some(guest) => guest.apply(act, sink),
            None => apply::apply(act, sink),
        }
    }

    fn obtain(&self, service: Service, from: &ImageSource, tag: &str, sink: &Sink) -> Result<(), Failure> {
        let archive = match from {
            ImageSource::Registry(reference) => {
                let pull = Local::PullImage { reference: reference.clone(), tag: tag.to_owned() };
                return self.in_guest(&pull, sink);
            }
            ImageSource::Archive { path, .. } => path.as_str().into(),
            ImageSource::Build { version } => apply::build::image(service, version.as_deref(), sink)?,
        };
        // Here, not in the guest: who waits must not have sent anything yet,
        // since all that is sent takes turns on one connection.
        sink(Saying::WaitsFor("its turn to be loaded".to_owned()));
        let _lane = self.loads.take(service);
        let doing = || format!("read the image {}", archive.display());
        let mut file = File::open(&archive).doing(doing)?;
        let total = file.metadata().doing(doing)?.len();
        match self.guest()? {
            Some(guest) => {
                guest.send(&Request::LoadImage { tag: tag.to_owned() }, &mut file, Some(total), sink)
            }
            None => apply::image::load(tag, Box::new(file), sink),
        }
    }
}
