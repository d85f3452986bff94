//! Acting on a site: each act on the side, or the sides, where it belongs.

use std::fs::File;

use matrix_podman_core::{
    disk,
    effect::{Effect, ImageSource},
    fact::Side,
    observed::Observed,
    service::Service,
};

use super::World;
use crate::{
    apply,
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
        if let Some(done) = self.keeper.apply(self, effect, sink) {
            return done;
        }
        match effect {
            Effect::ObtainImage { service, from, tag } => self.obtain(*service, from, tag, effect, sink),
            Effect::TakeSecret { secret, from } => {
                let mut file = secret::given_for(from.as_str().as_ref(), *secret)?;
                match self.guest()? {
                    Some(guest) => guest.send(&Request::PutSecret(*secret), &mut file, None, sink),
                    None => secret::put(*secret, file),
                }
            }
            Effect::Edge(act) => self.edge.act(act, sink),
            effect if effect.side() == Side::Machine => apply::apply(effect, sink),
            effect => self.in_guest(effect, sink),
        }
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
        apply::apply(&Effect::Flush { side: Side::Machine }, &|_| {})?;
        self.keeper.flush_guest(self)
    }

    pub(super) fn in_guest(&self, effect: &Effect, sink: &Sink) -> Result<(), Failure> {
        match self.guest()? {
            Some(guest) => guest.apply(effect, sink),
            None => apply::apply(effect, sink),
        }
    }

    fn obtain(
        &self,
        service: Service,
        from: &ImageSource,
        tag: &str,
        effect: &Effect,
        sink: &Sink,
    ) -> Result<(), Failure> {
        let archive = match from {
            ImageSource::Registry(_) => {
                return match self.guest()? {
                    Some(guest) => guest.apply(effect, sink),
                    None => apply::apply(effect, sink),
                };
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
